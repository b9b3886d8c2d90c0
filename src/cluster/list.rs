//! Lists: pages that show one moment, and the identities of what is in them.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::client::{Cluster, call, get};
use super::kind::{Kind, Query, Selector};
use crate::diagnostic::Diagnostic;

/// Objects of one page of a list.
const PAGE: &str = "500";

/// Lists that lost their `continue` token are begun anew this often.
const LIST_ATTEMPTS: usize = 3;

/// The objects of a list, and the resourceVersion of the moment they show.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    /// The objects, in the server's order.
    pub items: Vec<T>,
    /// resourceVersion of the list.
    pub version: String,
}

/// The parts of every object's metadata that the cluster room needs.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Identified {
    #[serde(default)]
    pub(super) metadata: Identity,
}

/// An object's identity.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) resource_version: Option<String>,
    pub(super) uid: Option<String>,
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Page<T> {
    #[serde(default)]
    metadata: PageMeta,
    /// Servers written in Go may write an empty list as null.
    #[serde(default)]
    items: Option<Vec<T>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    token: String,
}

/// The objects of a list with their identities, which `T` need not hold.
pub(super) struct Sheet<T> {
    pub(super) items: Vec<(Identity, T)>,
    pub(super) version: String,
}

impl Cluster {
    /// Returns the objects of a namespace, or of all namespaces when it is empty; read in pages of 500 that show one
    /// moment.
    pub async fn list<T: DeserializeOwned>(
        &self,
        kind: &Kind,
        namespace: &str,
        selector: &Selector,
    ) -> Result<Listed<T>, Diagnostic> {
        let (items, version) = self.pages(kind, namespace, selector, |_| Ok::<_, serde_json::Error>(())).await?;
        Ok(Listed { items: items.into_iter().flat_map(|(items, ())| items).collect(), version })
    }

    /// Lists objects together with their identities.
    pub(super) async fn sheet<T: DeserializeOwned>(
        &self,
        kind: &Kind,
        namespace: &str,
        selector: &Selector,
    ) -> Result<Sheet<T>, Diagnostic> {
        let read = |bytes: &[u8]| serde_json::from_slice::<Page<Identified>>(bytes);
        let (pages, version) = self.pages(kind, namespace, selector, read).await?;
        let mut items = Vec::new();
        for (values, identities) in pages {
            items.extend(identities.items.unwrap_or_default().into_iter().map(|it| it.metadata).zip(values));
        }
        Ok(Sheet { items, version })
    }

    /// Reads all pages of a list; `extra` takes a second look at each page's text.
    async fn pages<T: DeserializeOwned, E>(
        &self,
        kind: &Kind,
        namespace: &str,
        selector: &Selector,
        extra: impl Fn(&[u8]) -> Result<E, serde_json::Error>,
    ) -> Result<(Vec<(Vec<T>, E)>, String), Diagnostic> {
        let call = call("list", kind, namespace, "");
        let path = kind.collection_path(namespace);
        let mut attempt = 1;
        'anew: loop {
            let (mut pages, mut version, mut token) = (Vec::new(), String::new(), String::new());
            loop {
                let mut query = Query::default();
                query.add("limit", PAGE);
                selector.query(&mut query);
                if !token.is_empty() {
                    query.add("continue", &token);
                }
                let answer = match self.send(&call, get(&query.on(&path))).await {
                    Err(error) if error.data.get("code") == Some(&json!(410)) && attempt < LIST_ATTEMPTS => {
                        attempt += 1;
                        continue 'anew;
                    }
                    answer => answer?,
                };
                let page: Page<T> = self.parse(&call, &answer.body)?;
                let extra = extra(&answer.body).map_err(|error| self.origin().unreadable(&call, &error))?;
                self.journal().identified(answer.entry, Some(page.metadata.resource_version.clone()), None);
                if version.is_empty() {
                    version = page.metadata.resource_version;
                }
                token = page.metadata.token;
                pages.push((page.items.unwrap_or_default(), extra));
                if token.is_empty() {
                    return Ok((pages, version));
                }
            }
        }
    }
}
