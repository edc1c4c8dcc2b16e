"""What is scheduled: a pipeline that trains."""

from trackyard import log_metric, pipeline, step


@step(experiment_tracker=True)
def train(rate: float) -> float:
    loss = 1.0
    for epoch in range(10):
        loss *= 1 - rate
        log_metric("loss", loss, step=epoch)
    return loss


@pipeline
def training(rate: float = 0.1):
    train(rate)
