from tests.deploy import watched


def test_the_dashboard_shows_what_operators_ask_for() -> None:
    rows = [panel["title"] for panel in watched.dashboard()["panels"] if panel["type"] == "row"]
    assert rows == [
        "Requests, errors and duration by RPC",
        "By version",
        "Versions and rollouts",
        "Trials: canary, shadow, guard",
        "Shedding and answers",
        "Index and process",
    ]
    queries = " ".join(watched.dashboard_queries().values())
    for quantile in ("0.50", "0.95", "0.99"):
        asked = f"histogram_quantile({quantile}, sum by (le, version)"
        assert asked in queries


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = watched.dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_query_can_be_narrowed_to_a_server() -> None:
    for panel in watched.dashboard()["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            selectors = expression.count("{")
            narrowed = expression.count('job=~"$job", instance=~"$instance"')
            assert selectors == narrowed > 0, panel["title"]
            assert target["datasource"]["uid"] == "${datasource}"
