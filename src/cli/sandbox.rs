//! `okgscript sandbox`: the embedded cluster in wall time, for kubectl and any other client.

use std::future::IntoFuture as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use axum::serve::ListenerExt as _;
use clap::Args;
use serde_json::json;
use tokio::net::TcpListener;

use super::global::{Form, Global};
use super::run::print_document;
use super::{launch, signals, terminal};
use crate::clock::Clock;
use crate::diagnostic::{Diagnostic, Kind};
use crate::exit_code::ExitCode;
use crate::sandbox::coverage::GAPS;
use crate::sandbox::{Options, Sandbox};
use crate::script::Interrupt;
use crate::session::real_runtime;

/// Arguments of `sandbox`.
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// Kubernetes YAML to load; may be repeated. The kubeconfig is written to `--kubeconfig FILE`, or to a temporary
    /// file
    #[arg(value_name = "FILE")]
    load: Vec<PathBuf>,
    /// Address to listen on; loopback only, since anyone who reaches it may do everything
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Token that clients must send; none unless given
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// No built-in objects
    #[arg(long)]
    empty: bool,
    /// The bare API: nothing acts behind it
    #[arg(long)]
    no_controllers: bool,
    /// Make the world's own delays so many times shorter
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    speed: f64,
    /// Say what the embedded cluster does not imitate, and end
    #[arg(long)]
    coverage: bool,
}

/// Serves until a signal comes.
pub fn run(arguments: &Arguments, global: &Global) -> Result<ExitCode, Diagnostic> {
    if arguments.coverage {
        return say_coverage(global);
    }
    if !arguments.listen.ip().is_loopback() {
        let what = format!("`{}` is no loopback address", arguments.listen);
        return Err(Diagnostic::new(Kind::Usage, what)
            .why("whoever reaches the embedded cluster may do everything on it")
            .help("listen on 127.0.0.1, and forward the port if it must be reached from elsewhere"));
    }
    if !(arguments.speed >= 0.01 && arguments.speed <= 10_000.0) {
        return Err(Diagnostic::new(Kind::Usage, format!("`--speed {}` is out of range", arguments.speed))
            .help("give a number from 0.01 to 10000; 50 makes the world's own delays 50 times shorter"));
    }
    let options = Options {
        empty: arguments.empty,
        controllers: !arguments.no_controllers,
        token: arguments.token.clone(),
        speed: arguments.speed,
        ..launch::sandbox_options(global)?
    };
    let runtime = real_runtime()?;
    runtime.block_on(serve(arguments, global, options))
}

/// Prints what the embedded cluster does not imitate.
fn say_coverage(global: &Global) -> Result<ExitCode, Diagnostic> {
    if matches!(global.form(), Form::Json | Form::Yaml) {
        let gaps = GAPS.iter().map(|gap| {
            let recordings: Vec<String> =
                gap.recordings.iter().map(|(group, step)| format!("{group}: {step}")).collect();
            json!({"area": gap.area, "what": gap.what, "reason": gap.reason, "recordings": recordings})
        });
        print_document(global.form(), &gaps.collect())?;
        return Ok(ExitCode::Done);
    }
    for gap in GAPS {
        terminal::out(&format!("{:<12} {}", gap.area, gap.what));
        terminal::out(&format!("{:<12} because {}", "", gap.reason));
        if !gap.recordings.is_empty() {
            let steps = gap.recordings.len();
            let noun = if steps == 1 { "step" } else { "steps" };
            terminal::out(&format!("{:<12} {steps} recorded {noun} of a real server come out differently", ""));
        }
    }
    Ok(ExitCode::Done)
}

async fn serve(arguments: &Arguments, global: &Global, options: Options) -> Result<ExitCode, Diagnostic> {
    let sandbox = Sandbox::start(&options, Clock::wall()).await?;
    for path in &arguments.load {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Diagnostic::new(Kind::Missing, format!("`{shown}` cannot be read")).why(error.to_string())
        })?;
        sandbox.load_yaml(&shown, &text)?;
    }
    let listener = TcpListener::bind(arguments.listen).await.map_err(|error| {
        Diagnostic::new(Kind::Usage, format!("the embedded cluster cannot listen on `{}`", arguments.listen))
            .why(error.to_string())
            .help("choose another address with `--listen`, or port 0 for any free one")
    })?;
    let address = listener.local_addr().map_err(|error| {
        Diagnostic::new(Kind::Internal, "the address of the embedded cluster is not known").why(error.to_string())
    })?;
    let kubeconfig = Kubeconfig::write(global.kubeconfig.as_deref(), address, arguments.token.as_deref())?;
    terminal::out(&format!("export KUBECONFIG={}", kubeconfig.path.display()));
    terminal::note(&format!("serving an embedded OKG cluster on http://{address}; Ctrl-C ends it"));
    let interrupt = Interrupt::new();
    signals::listen(&interrupt, || {});
    let token = interrupt.token();
    let listener = listener.tap_io(|stream| {
        // Answers go out in two writes; without this the second waits for the client's acknowledgement.
        let _ = stream.set_nodelay(true);
    });
    let served = tokio::spawn(axum::serve(listener, sandbox.router()).into_future());
    tokio::select! {
        biased;
        () = token.cancelled() => {}
        ended = served => {
            let why = match ended {
                Ok(Ok(())) => "it ended by itself".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            return Err(Diagnostic::new(Kind::Internal, "the embedded cluster stopped serving").why(why));
        }
    }
    drop(kubeconfig);
    Ok(ExitCode::Done)
}

/// A kubeconfig file; one that nobody asked for by name goes away again.
struct Kubeconfig {
    path: PathBuf,
    keep: bool,
}

impl Kubeconfig {
    fn write(asked: Option<&Path>, address: SocketAddr, token: Option<&str>) -> Result<Kubeconfig, Diagnostic> {
        let path = asked.map_or_else(
            || std::env::temp_dir().join(format!("okgscript-sandbox-{}.yaml", address.port())),
            Path::to_path_buf,
        );
        let user = token.map_or_else(|| json!({}), |token| json!({"token": token}));
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "okgscript-sandbox",
            "clusters": [{"name": "okgscript-sandbox", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "okgscript-sandbox", "user": user}],
            "contexts": [{
                "name": "okgscript-sandbox",
                "context": {"cluster": "okgscript-sandbox", "user": "okgscript-sandbox", "namespace": "default"},
            }],
        });
        let failed = |why: String| {
            Diagnostic::new(Kind::Usage, format!("the kubeconfig cannot be written to `{}`", path.display())).why(why)
        };
        let text = serde_saphyr::to_string(&config).map_err(|error| failed(error.to_string()))?;
        std::fs::write(&path, text).map_err(|error| failed(error.to_string()))?;
        Ok(Kubeconfig { path, keep: asked.is_some() })
    }
}

impl Drop for Kubeconfig {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
