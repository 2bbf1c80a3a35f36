"""Made-up enrolments of people in courses, with topics that a model can find.

People care about a few topics, courses are about one or two, and some courses are far more popular
than others. People enrol by both.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec_training.data.samples.sample import Sample
from gnnrec_training.errors import InvalidConfig

TOPICS = {
    "Statistics": ("probability", "regression", "experiments", "sampling"),
    "Machine Learning": ("trees", "neural networks", "evaluation", "features"),
    "Databases": ("sql", "indexes", "transactions", "modelling"),
    "Web Development": ("http", "html", "accessibility", "frontend"),
    "Networks": ("routing", "protocols", "latency", "wireless"),
    "Security": ("cryptography", "threats", "identity", "privacy"),
    "Design": ("layout", "colour", "research", "prototyping"),
    "Writing": ("editing", "clarity", "storytelling", "grammar"),
    "Music": ("harmony", "rhythm", "listening", "composition"),
    "Photography": ("light", "portraits", "landscape", "darkroom"),
    "Biology": ("cells", "genetics", "ecology", "evolution"),
    "History": ("archives", "antiquity", "maps", "biography"),
}
LEVELS = ("beginner", "intermediate", "advanced")
GOALS = ("career", "degree", "curiosity")

_FORMS = (
    "Introduction to {tag} in {topic}",
    "{topic}: {tag} by Example",
    "Practical {topic} with {tag}",
    "{topic} and {tag}, Step by Step",
    "The {topic} of {tag}: a Workshop",
    "Understanding {tag} for {topic}",
)
_FIRST_SECOND = 1_672_531_200  # 2023-01-01
_SECONDS = 2 * 365 * 86_400

_CONFIG = """\
# Trains LightGCN, GraphSAGE and the hybrid on the sample world, and measures them on each person's
# held-out enrolments.
name = "courses"

[data]
interactions = "enrolments.csv"
user_column = "person_id"
item_column = "course_id"
time_column = "enrolled_at"

[data.users]
file = "people.csv"
id_column = "person_id"

[[data.users.features]]
name = "age"
kind = "numeric"
centres = 8

[[data.users.features]]
name = "goal"
kind = "categorical"

[[data.users.features]]
name = "interests"
kind = "multi"

[data.items]
file = "courses.csv"
id_column = "course_id"

[[data.items.features]]
name = "topics"
kind = "multi"

[[data.items.features]]
name = "tags"
kind = "tags"

[[data.items.features]]
name = "level"
kind = "categorical"

[[data.items.features]]
name = "hours"
kind = "numeric"

# What requests can filter the courses by.
[[data.items.attributes]]
name = "level"
kind = "text"

[[data.items.attributes]]
name = "topics"
kind = "texts"

[[data.items.attributes]]
name = "hours"
kind = "number"

[split]
method = "random"
test = 0.2
validation = 0.1

[lightgcn]
embedding_dim = 32
num_layers = 2

[lightgcn.training]
loss = "softmax"
epochs = 40
batch_size = 128
negatives = 1000
candidate_exponent = 0
temperature = 0.3
learning_rate = 0.02
schedule = "linear"
weight_decay = 0

[sage]
embedding_dim = 32
hidden_dim = 64

[hybrid]
hidden_dim = 64

[evaluation]
k = [10, 20]
"""


def sample_courses(people: int, courses: int, enrolments: int, seed: int) -> Sample:
    """Return a sample with exactly so many people, courses and enrolments; `seed` decides the rest.

    Raises InvalidConfig where people would have to take more than half of all courses on average.
    """
    if enrolments > people * courses // 2:
        raise InvalidConfig(
            f"{enrolments} interactions are too many for {people} users and {courses} items; "
            f"at most {people * courses // 2} fit"
        )
    generator = np.random.default_rng(seed)
    topics = len(TOPICS)
    interests = generator.dirichlet(np.full(topics, 0.25), people)  # (people, topics)
    subjects = generator.dirichlet(np.full(topics, 0.12), courses)  # (courses, topics)
    appeal = generator.normal(0, 0.8, courses)  # log popularity: lognormal, so skewed
    counts = _counts(generator, people, courses, enrolments)
    taken = _enrol(generator, interests, subjects, appeal, counts)
    person = np.repeat(np.arange(people), counts)
    moment = _FIRST_SECOND + generator.integers(0, _SECONDS, enrolments)
    order = np.argsort(moment, kind="stable")
    return Sample(
        {
            "people.csv": _people(generator, interests),
            "courses.csv": _courses(generator, subjects),
            "enrolments.csv": pl.DataFrame(
                {
                    "person_id": [f"person-{row}" for row in person[order]],
                    "course_id": [f"course-{row}" for row in taken[order]],
                    "enrolled_at": moment[order],
                }
            ),
        },
        _CONFIG,
    )


def _counts(
    generator: np.random.Generator, people: int, courses: int, enrolments: int
) -> NDArray[np.int64]:
    """Return how many courses each person takes (people,): skewed, at most half of all courses.

    They add up to `enrolments`.
    """
    share = generator.lognormal(0, 0.6, people)
    even = enrolments * share / share.sum()
    counts: NDArray[np.int64] = np.minimum(even, courses // 2).astype(np.int64)
    while (missing := enrolments - int(counts.sum())) > 0:
        room = np.flatnonzero(counts < max(1, courses // 2))
        lucky = generator.choice(room, min(missing, len(room)), replace=False)
        counts[lucky] += 1
    return counts


def _enrol(
    generator: np.random.Generator,
    interests: NDArray[np.float64],
    subjects: NDArray[np.float64],
    appeal: NDArray[np.float64],
    counts: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Draw each person's courses without repetition: (enrolments,), person by person.

    interests (people, topics), subjects (courses, topics), appeal (courses,), counts (people,). The
    largest of log-probability plus Gumbel noise are a draw without replacement (Gumbel top-k trick,
    Kool et al. 2019).
    """
    chosen = []
    for interest, count in zip(interests, counts, strict=True):
        liking = 7.0 * (subjects @ interest) / np.linalg.norm(interest) + appeal
        ranked = np.argsort(-(liking + generator.gumbel(0, 1, len(liking))), kind="stable")
        chosen.append(ranked[:count])
    return np.concatenate(chosen)


def _people(generator: np.random.Generator, interests: NDArray[np.float64]) -> pl.DataFrame:
    names = list(TOPICS)
    people = len(interests)
    favourite = np.argsort(-interests, axis=1)[:, :2]
    return pl.DataFrame(
        {
            "person_id": [f"person-{row}" for row in range(people)],
            "age": generator.integers(16, 80, people),
            "goal": generator.choice(GOALS, people),
            "interests": ["|".join(names[topic] for topic in topics) for topics in favourite],
        }
    )


def _courses(generator: np.random.Generator, subjects: NDArray[np.float64]) -> pl.DataFrame:
    names = list(TOPICS)
    rows = []
    for row, weights in enumerate(subjects):
        topic = names[int(weights.argmax())]
        tags = generator.choice(TOPICS[topic], 2, replace=False)
        form = _FORMS[int(generator.integers(len(_FORMS)))]
        about = [names[place] for place in np.argsort(-weights) if weights[place] > 0.2]
        rows.append(
            {
                "course_id": f"course-{row}",
                "title": form.format(topic=topic, tag=tags[0].title()),
                "topics": "|".join(about or [topic]),
                "tags": "|".join(tags),
                "level": str(generator.choice(LEVELS)),
                "hours": round(float(generator.gamma(3.0, 6.0)) + 1, 1),
            }
        )
    return pl.DataFrame(rows)
