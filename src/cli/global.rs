//! Flags that every command takes: kubectl's, the output format, and where an embedded cluster comes from.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cluster::Connect;
use crate::diagnostic::Diagnostic;
use crate::script::duration;

/// Form of results on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
    /// Markdown, for a ticket or a chat.
    Markdown,
}

/// The global flags.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Namespace; the context's own unless given
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Kubeconfig file; $KUBECONFIG or ~/.kube/config unless given
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// User to act as
    #[arg(long = "as", global = true, value_name = "USER")]
    pub as_user: Option<String>,
    /// Group to act as; may be repeated
    #[arg(long = "as-group", global = true, value_name = "GROUP")]
    pub as_groups: Vec<String>,
    /// Longest wait for one answer, such as 30s
    #[arg(long, global = true, value_name = "TIME")]
    pub request_timeout: Option<String>,
    /// How results are printed
    #[arg(short, long, global = true, value_enum, value_name = "FORM")]
    pub output: Option<Form>,
    /// Also log requests; twice, everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Use an embedded cluster instead of a real one
    #[arg(long, global = true)]
    pub sandbox: bool,
    /// Scenario of the embedded cluster: a file, or a built-in name
    #[arg(long, global = true, value_name = "FILE")]
    pub scenario: Option<String>,
    /// Seed of all chance on the embedded cluster
    #[arg(long, global = true, value_name = "NUMBER")]
    pub seed: Option<u64>,
}

impl Global {
    /// Returns the form of results; for people unless told.
    pub fn form(&self) -> Form {
        self.output.unwrap_or_default()
    }

    /// Returns whether the embedded cluster is meant.
    pub fn embedded(&self) -> bool {
        self.sandbox || self.scenario.is_some()
    }

    /// Returns what decides on the cluster and the user.
    pub fn connect(&self) -> Result<Connect, Diagnostic> {
        let request_timeout = self.request_timeout.as_deref().map(duration::parse).transpose()?;
        Ok(Connect {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            namespace: self.namespace.clone(),
            as_user: self.as_user.clone(),
            as_groups: self.as_groups.clone(),
            request_timeout,
            ..Connect::default()
        })
    }
}
