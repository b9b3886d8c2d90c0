//! What the embedded cluster does not imitate: the list that `okgscript sandbox --coverage` prints.

/// One thing that is not as on a real cluster.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    /// Where it belongs: `api`, `controllers`, ….
    pub area: &'static str,
    /// What differs.
    pub what: &'static str,
    /// Why it is left so.
    pub reason: &'static str,
    /// The recorded exchanges that show it, as group and step.
    pub recordings: &'static [(&'static str, &'static str)],
}

/// Everything that is known to differ.
pub const GAPS: &[Gap] = &[
    Gap {
        area: "api",
        what: "`/api` names the address that the client used",
        reason: "the recorded server was told to advertise another address",
        recordings: &[("discovery", "/api")],
    },
    Gap {
        area: "api",
        what: "protobuf answers are JSON inside Kubernetes' envelope, and the protobuf OpenAPI document has only its head",
        reason: "clients that ask for protobuf alone are rare; kubectl and kube-rs take JSON",
        recordings: &[],
    },
    Gap {
        area: "api",
        what: "Kruise's kinds beside StatefulSet, PodProbeMarker, NodePodProbe, SidecarSet and ContainerRecreateRequest are \
               stored without a schema",
        reason: "OpenKruiseGame does not use them",
        recordings: &[],
    },
    Gap {
        area: "api",
        what: "groups without a kind that releases need are not served: networking, certificates, flowcontrol, \
               admissionregistration and others",
        reason: "nothing here would act on their objects",
        recordings: &[("kubectl/describe-explain", "api-versions")],
    },
    Gap {
        area: "api",
        what: "OpenAPI documents describe OKG's and Kruise's fields and few of the built-in ones, in words of their own; \
               version 2 has no paths",
        reason: "`kubectl explain` shows all fields, types and enums; the real texts are upstream's",
        recordings: &[],
    },
    Gap {
        area: "api",
        what: "the text of kubectl's own refusals and annotations",
        reason: "written by kubectl itself, another build than the recorded one: `Error:` for `error:`, and an empty \
                 `annotations` in last-applied-configuration, whose cause is not known",
        recordings: &[("kubectl/misc", "get gs --nope"), ("kubectl/write", "diff -f -")],
    },
    Gap {
        area: "api",
        what: "x-kubernetes-validations (CEL), admission webhooks and policies are not evaluated",
        reason: "OKG's own webhook rules are applied by its controllers here",
        recordings: &[],
    },
    Gap {
        area: "api",
        what: "with controllers, volumes and claims carry no protection finalizer",
        reason: "no controller here lifts it",
        recordings: &[],
    },
    Gap {
        area: "api",
        what: "exec gives the answers that the scenario declares, logs and attach its lines; stdin reaches an answer only \
               as a whole, and a terminal's size is read and dropped",
        reason: "no container runs behind a pod; `commands` and `logs` of a scenario (okgscript doc scenario)",
        recordings: &[],
    },
    Gap {
        area: "api",
        what: "exec and attach speak websockets, not SPDY; port-forward is refused",
        reason: "kubectl from 1.31 on and kube-rs use websockets; nothing listens in a pod",
        recordings: &[],
    },
    Gap {
        area: "controllers",
        what: "while a GameServerSet is deleted in the foreground, how often its workload and rooms are made anew",
        reason: "chance on a real cluster too; the recording `delete-set-foreground` passes with some seeds only",
        recordings: &[],
    },
    Gap {
        area: "controllers",
        what: "no controller runs Jobs, CronJobs, Deployments, ReplicaSets, DaemonSets or Kubernetes' own StatefulSets; a \
               ResourceQuota limits pods alone, and its status stays empty",
        reason: "releases of rooms need none of them; their objects are stored, defaulted and validated",
        recordings: &[],
    },
    Gap {
        area: "controllers",
        what: "image pre-download, resizing of pods and volumes in place, ContainerRecreateRequest, Kruise's daemon",
        reason: "no container runs; results of probes come from the scenario",
        recordings: &[],
    },
    Gap {
        area: "controllers",
        what: "networks of clouds are one stand-in that becomes ready after a while; Kubernetes-Ingress makes no Ingress",
        reason: "nobody connects to a simulated room",
        recordings: &[],
    },
    Gap {
        area: "controllers",
        what: "a scale step never runs a second time on a stale annotation",
        reason: "seen in 3 of some 50 runs of the real controller; its caches are not imitated",
        recordings: &[],
    },
    Gap {
        area: "autoscaler",
        what: "of KEDA: ScaledObjects whose target is a GameServerSet, their first external trigger (minAvailable, \
               maxAvailable), minReplicaCount and maxReplicaCount, cooldownPeriod down to 0 replicas, pausing by annotation, \
               HPA behavior; not several triggers, other scalers, ScaledJobs, TriggerAuthentications, fallback, \
               idleReplicaCount, advanced formulas, pollingInterval",
        reason: "OKG's scaler is the one that decides on rooms; what is not imitated is ignored or told in the status",
        recordings: &[],
    },
    Gap {
        area: "autoscaler",
        what: "HorizontalPodAutoscalers without a ScaledObject are stored and do nothing",
        reason: "there are no metrics of pods",
        recordings: &[],
    },
];

/// Returns the recorded exchanges that are known to differ, as group and step.
pub fn recordings() -> impl Iterator<Item = (&'static str, &'static str)> {
    GAPS.iter().flat_map(|gap| gap.recordings.iter().copied())
}
