import torch

from gnnrec_training.models.fold_in import predictor


def test_a_users_own_layer_is_predicted_from_the_others() -> None:
    generator = torch.Generator().manual_seed(0)
    above = torch.randn(500, 6, generator=generator)
    truth = torch.randn(6, 6, generator=generator)
    noise = 0.1 * torch.randn(500, 6, generator=generator)
    torch.testing.assert_close(predictor(above, above @ truth + noise), truth, atol=0.3, rtol=0.15)
    assert not predictor(above, torch.zeros(500, 6)).any()
    halved = predictor(1e-3 * above, 1e-3 * (above @ truth))
    torch.testing.assert_close(halved, predictor(above, above @ truth), atol=1e-4, rtol=1e-3)
