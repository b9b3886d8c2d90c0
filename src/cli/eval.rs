//! `okgscript eval 'EXPR'`

use std::collections::BTreeMap;
use std::sync::Arc;

use super::launch::Launch;
use super::receipt::Receipt;
use super::run::{on_script_thread, print_document};
use super::stage::Show;
use super::{Form, Global, script_args, terminal};
use crate::bindings::display;
use crate::diagnostic::Diagnostic;
use crate::exit_code::ExitCode;
use crate::script::Interrupt;
use crate::session::Desk;

/// Arguments of `eval`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// An expression, or statements whose last value counts
    #[arg(value_name = "EXPR")]
    expression: String,
}

/// Evaluates an expression and prints its value: rooms as a table, text as it is, anything else as a value. Where it
/// wrote something, the receipt follows.
pub fn run(arguments: &Arguments, global: &Global) -> Result<ExitCode, Diagnostic> {
    let (arguments, global, interrupt) = (arguments.clone(), global.clone(), Interrupt::new());
    on_script_thread(&interrupt.clone(), move || evaluate(&arguments, &global, &interrupt))
}

fn evaluate(arguments: &Arguments, global: &Global, interrupt: &Interrupt) -> Result<ExitCode, Diagnostic> {
    let desk = Desk::new(interrupt);
    let script = desk.compile("eval", &arguments.expression)?;
    let wrong = desk.check(&script);
    if !wrong.is_empty() {
        wrong.iter().for_each(terminal::report);
        return Ok(ExitCode::Usage);
    }
    let launch = Launch::new(global)?;
    let _inside = launch.enter();
    let params = script_args::settle(&script, BTreeMap::new(), BTreeMap::new(), &launch.params)?;
    let show = Arc::new(Show::new(global.form(), global.verbose > 0, launch.clock, None));
    let parts = launch.parts(interrupt, &desk.sources, show, params.clone());
    let session = desk.open(parts);
    let begun = session.host().now();
    let result = session.run(&script);
    let touched = !session.host().ledger().untouched();
    let data = matches!(global.form(), Form::Json | Form::Yaml);
    if let Ok(value) = &result {
        match value.as_immutable_string_ref() {
            _ if data => print_document(global.form(), &display::data(value))?,
            Ok(text) => terminal::out(text.as_str()),
            Err(_) => terminal::out(&display::text(value)),
        }
    }
    let mut code = ExitCode::Done;
    if touched {
        let receipt = Receipt::take(session.host(), &script, &params, begun, result.as_ref().err());
        if receipt.failed() {
            code = ExitCode::Partial;
        }
        match data {
            // Results are for programs, and alone on stdout.
            true => receipt.in_short().iter().for_each(|line| terminal::note(line)),
            false => receipt.print(global.form()),
        }
    }
    result.map(|_| code)
}
