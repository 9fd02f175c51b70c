"""The component that says how a run ended."""

from kfp.dsl import Markdown, Output, PipelineTaskFinalStatus

from components.base import component


@component
def report_outcome(outcome: Output[Markdown], status: PipelineTaskFinalStatus) -> None:
    """Say whether the run succeeded and, where it did not, what its first failed component said."""
    from galmorph.cluster.outcome import report

    report(status.state, status.error_message, outcome)
