"""axo select on variants of the released network: weights changed a little, and a lot."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from axo.cli import main
from axo.firmware.models import find_model
from axo.network import Dense, write_network

DATA, SIGNALS = "sample:zerobias_test", ["sample:sig_A_4l", "sample:sig_ttbar"]


def variant(flipped, seed):
    """axo_v3 with this share of the non-zero weights of its first layer set to zero."""
    network = find_model("axo_v3").network
    rng = np.random.default_rng(seed)

    def changed(operation):
        if not isinstance(operation, Dense) or operation.name != "dense0":
            return operation
        weight = np.where(rng.random(operation.weight.shape) < flipped, 0, operation.weight)
        return dataclasses.replace(operation, weight=weight)

    operations = tuple(changed(operation) for operation in network.operations)
    return dataclasses.replace(network, operations=operations, provenance={"train_words_sha256": str(seed)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seeds 1, 2, 10 alike; seed 3 lost most of its weights."""
    folder = tmp_path_factory.mktemp("work")
    for seed, flipped in ((1, 0.01), (2, 0.02), (10, 0.03), (3, 0.9)):
        write_network(folder / f"seed{seed}.network.json", variant(flipped, seed))
    return folder


def ranking(tmp_path, *arguments):
    path = tmp_path / "ranking.json"
    assert main(["select", *map(str, arguments), "--json", str(path)]) == 0
    return json.loads(path.read_text())


def test_the_seed_that_disagrees_comes_last(folder, tmp_path, capsys):
    document = ranking(tmp_path, folder, "--data", DATA, "--rate-khz", "100")
    rows = document["candidates"]
    assert [row["candidate"].split("/")[-1] for row in rows][-1] == "seed3"
    assert {row["partners"] for row in rows} == {3}
    values = [row["posterior_agreement"] for row in rows]
    assert values == sorted(values, reverse=True) and -np.log(2) <= values[-1] < values[0] - 0.05
    assert rows[-1]["latent_information"] < min(row["latent_information"] for row in rows[:-1])
    assert document["against_signals"] is None and "geometric_mean" not in rows[0]
    assert len(document["pairs"]) == 6 and document["groups"][0]["seeds"] == 4
    assert document["pairs"][0]["same_training_data"] is False
    assert "chosen without signals: " in capsys.readouterr().out


def test_signals_do_not_change_the_ranking_but_are_shown(folder, tmp_path, capsys):
    blind = ranking(tmp_path, folder, "--data", DATA, "--rate-khz", "100")
    peeking = ranking(tmp_path, folder, "--data", DATA, "--rate-khz", "100", "--signals", *SIGNALS)
    assert [r["candidate"] for r in blind["candidates"]] == [r["candidate"] for r in peeking["candidates"]]
    found = peeking["against_signals"]
    means = [row["geometric_mean"] for row in peeking["candidates"]]
    assert found["best_by_signals"] == peeking["candidates"][int(np.argmax(means))]["candidate"]
    assert found["chosen_over_best"] == pytest.approx(means[0] / max(means))
    # Spearman's by hand: 1 - 6 sum d^2 / n (n^2 - 1), the blind ranks being 0, 1, 2, 3
    ranks = np.argsort(np.argsort(-np.array(means)))
    expected = 1 - 6 * ((ranks - np.arange(4)) ** 2).sum() / (4 * 15)
    assert found["rank_correlation_posterior_agreement"] == pytest.approx(expected)
    assert "rank correlation" in capsys.readouterr().out


def test_networks_alone_are_compared_with_all_others(folder, tmp_path):
    names = ["axo_v3", folder / "seed2.network.json", folder / "seed3.network.json"]
    document = ranking(tmp_path, *names, "--data", DATA, "--rate-khz", "100")
    assert {row["partners"] for row in document["candidates"]} == {2} and not document["groups"]
    pair = {p["second"]: p["posterior_agreement"] for p in document["pairs"] if p["first"] == "axo_v3"}
    assert pair["seed2.network.json"] > pair["seed3.network.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["axo_v3"], "one network has nothing to agree with"),
        (["axo_v3", "axo_v3"], "is the same network"),
        (["axo_v3", "{seeds}", "--rate-khz", "1"], "not enough to compare decisions"),
        (["axo_v3", "{seeds}", "--rate-khz", "1e6"], "not enough to compare decisions"),
        (["axo_v3", "{seeds}", "--rate-khz", "-1"], "--rate-khz must be positive"),
        (["axo_v3", "nowhere"], "neither a released model nor a network file"),
    ],
)
def test_bad_input_is_one_line(folder, capsys, arguments, message):
    arguments = [argument.format(seeds=folder) for argument in arguments]
    assert main(["select", *arguments, "--data", DATA]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
