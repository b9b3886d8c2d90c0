//! May we? Rights, asked of the API server before anything is done.

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use super::client::Cluster;
use super::kind::Kind;
use crate::diagnostic::Diagnostic;

/// Questions that are open at once.
const AT_ONCE: usize = 8;

/// A right that a run needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// `get`, `list`, `watch`, `patch`, …
    pub verb: String,
    /// API group, empty for the core group.
    pub group: String,
    /// Resource: `gameservers`.
    pub resource: String,
    /// Subresource: `scale`; empty for none.
    pub subresource: String,
    /// Namespace; empty for all.
    pub namespace: String,
    /// Name, since a Role may be limited to names; empty for all.
    pub name: String,
}

/// What the API server says about a right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The right in question.
    pub access: Access,
    /// Whether we have it.
    pub allowed: bool,
    /// The server's reason, if it gave one.
    pub reason: String,
}

const SELF_SUBJECT_ACCESS_REVIEW: Kind = Kind {
    group: std::borrow::Cow::Borrowed("authorization.k8s.io"),
    version: std::borrow::Cow::Borrowed("v1"),
    plural: std::borrow::Cow::Borrowed("selfsubjectaccessreviews"),
    kind: std::borrow::Cow::Borrowed("SelfSubjectAccessReview"),
    namespaced: false,
};

impl Cluster {
    /// Asks the API server for each right whether we have it; the verdicts come in the order of the questions.
    pub async fn allowed(&self, access: &[Access]) -> Result<Vec<Verdict>, Diagnostic> {
        let questions = access.iter().cloned().map(|access| async move {
            let answer = self.review(&SELF_SUBJECT_ACCESS_REVIEW, &question(&access)).await?;
            let status = &answer["status"];
            let reason =
                status["reason"].as_str().or(status["evaluationError"].as_str()).unwrap_or_default().to_owned();
            Ok(Verdict { access, allowed: status["allowed"] == true, reason })
        });
        futures::stream::iter(questions).buffered(AT_ONCE).try_collect().await
    }
}

fn question(access: &Access) -> Value {
    let mut attributes = json!({ "verb": access.verb, "group": access.group, "resource": access.resource });
    for (key, value) in [("subresource", &access.subresource), ("namespace", &access.namespace), ("name", &access.name)]
    {
        if !value.is_empty() {
            attributes[key] = json!(value);
        }
    }
    json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": attributes },
    })
}
