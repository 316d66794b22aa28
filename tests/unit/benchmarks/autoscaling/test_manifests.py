"""What Kubernetes is told of a simulated autoscaler."""

import pytest

from benchmarks.autoscaling import hpa, keda
from benchmarks.autoscaling.manifests import autoscaler, scaled_object
from benchmarks.autoscaling.queries import QUERIES

BEHAVIOR = hpa.Behavior(down=hpa.Rules(90.0, (hpa.Policy(hpa.PolicyType.PODS, 1, 30.0),)))
TOLD = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Percent", "value": 100, "periodSeconds": 15},
            {"type": "Pods", "value": 4, "periodSeconds": 15},
        ],
    },
    "scaleDown": {
        "stabilizationWindowSeconds": 90,
        "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 30}],
    },
}


def test_a_scaled_object_says_all_that_was_simulated():
    spec = keda.ScaledObject(
        (keda.Trigger("refused", 1.5, activation=0.5, ignores_null=False),),
        cores=0.85,
        min_replica_count=2,
        max_replica_count=7,
        polling_interval_s=20.0,
        fallback=keda.Fallback(4, 3, keda.Failing.CURRENT_IF_HIGHER),
        behavior=BEHAVIOR,
    )
    told = scaled_object("gateway", spec)
    assert told["metadata"] == {"name": "gateway", "namespace": "hemaserve"}
    assert told["spec"] == {
        "scaleTargetRef": {"name": "gateway"},
        "pollingInterval": 20,
        "minReplicaCount": 2,
        "maxReplicaCount": 7,
        "fallback": {"failureThreshold": 4, "replicas": 3, "behavior": "currentReplicasIfHigher"},
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": TOLD}},
        "triggers": [
            {
                "type": "cpu",
                "name": "processors",
                "metricType": "AverageValue",
                "metadata": {"value": "850m"},
            },
            {
                "type": "prometheus",
                "name": "refused",
                "metricType": "AverageValue",
                "metadata": {
                    "serverAddress": "http://prometheus-operated.monitoring.svc:9090",
                    "threshold": "1.5",
                    "activationThreshold": "0.5",
                    "ignoreNullValues": "false",
                    "query": QUERIES["gateway/refused"],
                },
            },
        ],
    }


def test_an_hpa_says_it_in_cores():
    told = autoscaler("detector", keda.ScaledObject(cores=1.6, min_replica_count=2, max_replica_count=8))
    (metric,) = told["spec"]["metrics"]
    assert metric["resource"] == {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "1600m"}}
    assert (told["spec"]["minReplicas"], told["spec"]["maxReplicas"]) == (2, 8)
    assert told["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300


@pytest.mark.parametrize(
    "spec", [keda.ScaledObject((keda.Trigger("work", 1),), cores=1.0), keda.ScaledObject()]
)
def test_what_an_hpa_alone_cannot_do_is_refused(spec):
    with pytest.raises(ValueError, match="scales by more than processors"):
        autoscaler("detector", spec)
