"""Learning tried on a world whose truth is known."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from leads import learning
from leads.management.commands import backtest


def learned(count, seed, *, is_noise=False):
    leads = backtest.make_up(count, seed=seed, is_noise=is_noise)
    return learning.train([lead.example for lead in leads], seed)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_few_hundred_leads_are_enough_to_say_true_chances(seed):
    found = learned(600, seed)
    fresh = backtest.make_up(3_000, seed=seed + 100)
    said = [learning.chance(found.parameters, lead.facts) for lead in fresh]
    outcomes = [float(lead.won) for lead in fresh]
    assert found.is_useful
    assert backtest.calibration_error(said, outcomes) <= backtest.MOST_OFF
    truth = backtest.brier([lead.chance for lead in fresh], outcomes)
    average = backtest.brier([found.parameters["base_rate"]] * len(fresh), outcomes)
    assert truth < backtest.brier(said, outcomes) < average


def test_a_coin_is_called_a_coin():
    claims = sum(learned(200, seed, is_noise=True).is_useful for seed in range(20))
    assert claims <= learning.MOST_FALSE_CLAIMS * 20


def test_the_report_shows_what_was_found_beside_the_truth(capsys):
    call_command("backtest", "--leads", "800", "--seed", "4")
    report = capsys.readouterr().out
    assert "Verdict: Better than the average" in report
    assert "the truth itself" in report
    found = {line.split()[0]: [float(value) for value in line.split()[1:]] for line in report.splitlines()[-16:]}
    assert found["source:partner"][0] == 1.0
    for name in backtest.TRUTH.keys() - {"weekend"}:  # so small that eight hundred leads do not show it
        true, seen = found[name]
        assert true * seen > 0, name


def test_with_noise_the_report_claims_nothing(capsys):
    call_command("backtest", "--leads", "300", "--seed", "2", "--noise")
    assert "Verdict: No better than the average" in capsys.readouterr().out


def test_the_backtest_fails_when_it_claims_too_much_or_finds_too_little(monkeypatch):
    with pytest.raises(CommandError, match=r"^Not enough data: \d+ won and \d+ lost\. It takes 200 leads"):
        call_command("backtest", "--leads", "150")
    monkeypatch.setattr(backtest, "UNSEEN", 500)
    monkeypatch.setattr(backtest, "MOST_OFF", 0.0)
    with pytest.raises(CommandError, match=r"^The chances are off by 0\.\d{3}; at most 0\.000 is good enough\.$"):
        call_command("backtest", "--leads", "600")
    monkeypatch.setattr(learning, "SURE", 0.0)  # the lower bound is then the best of all resamples
    with pytest.raises(CommandError, match=r"^A coin decided, and it claims to know better than the average\.$"):
        call_command("backtest", "--leads", "200", "--noise")
