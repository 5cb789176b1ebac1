"""A checkpoint goes on on the device that the processes of a group have."""

import torch

from mtlbench.harness.store.store import Store
from mtlbench.harness.training import checkpoint


def test_a_process_of_a_group_on_cpus_goes_on_from_a_checkpoint(tmp_path):
    store, layer = Store(tmp_path / "s"), torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    checkpoint.save(store, "c", layer, [optimizer], checkpoint.Position(1, 1, 1.0), "code")
    other = torch.optim.Adam(layer.parameters())
    place, warnings = checkpoint.restore(store, "c", layer, [other], torch.device("cpu", 0), "code")
    assert place.epoch == 1 and warnings == []
    assert torch.equal(other.state_dict()["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])
