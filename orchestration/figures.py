"""How things stand, in figures for Prometheus."""

import datetime as dt

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from orchestration.watch import ERROR, WARNING, State

CONTENT_TYPE = CONTENT_TYPE_LATEST


def as_figures(state: State) -> bytes:
    """Write how things stand in Prometheus's text format.

    Args:
        state: how they stand.
    """
    registry = CollectorRegistry()

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"next_aisle_{name}", text, labels, registry=registry)

    for name, text, time in (
        ("published_timestamp_seconds", "When readers got their copy.", state.published_at),
        ("fresh_timestamp_seconds", "When a nightly run last succeeded.", state.fresh_at),
    ):
        if time:
            gauge(name, text).set(time.replace(tzinfo=dt.UTC).timestamp())
    gauge("published_bytes", "Size of the published copy.").set(state.published_bytes)
    gauge("used_bytes", "What the warehouse and the published copy take.").set(state.used_bytes)
    gauge("free_bytes", "Room on the disk of the data folder.").set(state.free_bytes)
    gauge("runs_working", "Runs that are under way.").set(len(state.working))
    gauge("runs_waiting", "Runs that wait to be started.").set(len(state.waiting))
    if state.last_run:
        succeeded = gauge("last_run_succeeded", "Whether the nightly run that ended last succeeded.")
        succeeded.set(state.last_run.status == "success")
    findings = gauge("findings", "What an operator should know of.", "level")
    for level in (WARNING, ERROR):
        findings.labels(level).set(sum(finding.level == level for finding in state.findings))
    held = gauge("shop_held", "Whether the shop is held.", "source")
    age = gauge("newest_purchase_age_seconds", "Age of the shop's newest published purchase.", "source")
    for shop in state.shops:
        held.labels(shop.source).set(shop.status != "current")
        if shop.newest_purchase:
            age.labels(shop.source).set((state.at - shop.newest_purchase).total_seconds())
    budget = gauge("error_budget_left", "Share of the error budget that is left.", "objective", "owner")
    for objective in state.objectives:
        if objective.error_budget_left is not None:
            budget.labels(objective.objective, objective.owner).set(objective.error_budget_left)
    return generate_latest(registry)
