//! `param(…)` declarations, read from the script's tree without running it.

use rhai::{AST, ASTNode, Expr, FnCallExpr, Position, Stmt};
use serde_json::Value;

use super::{Sources, token, value};
use crate::diagnostic::{Diagnostic, Kind};

/// A parameter that a script declares.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamDecl {
    /// Name in the script; the flag is the same with `-` for `_`.
    pub name: String,
    /// Default; `None` makes the parameter required.
    pub default: Option<Value>,
    /// What it means.
    pub help: String,
    /// Line of the declaration, from 1.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
}

const HELP: &str = "write `param(\"name\", \"what it means\")` or `param(\"name\", default, \"what it means\")`";

/// Returns the parameters in the order of the script.
///
/// Errors are of kind `parameter`: a declaration in a function, closure or block, arguments that are not literals, or
/// a name declared twice.
pub fn read(ast: &AST, sources: &Sources, source: &str) -> Result<Vec<ParamDecl>, Diagnostic> {
    let mut params: Vec<ParamDecl> = Vec::new();
    let mut wrong: Option<(String, Position)> = None;
    let top = ast.statements();
    ast.walk(&mut |path| {
        let Some((call, position)) = path.last().and_then(param_call) else { return true };
        let result = if is_top_level(path, top) {
            declaration(call, position)
        } else {
            Err("`param` stands at the top level of a script, not in a function, closure or block".to_owned())
        };
        match result {
            Ok(decl) if params.iter().any(|known| known.name == decl.name) => {
                wrong = Some((format!("parameter `{}` is declared twice", decl.name), position));
            }
            Ok(decl) => params.push(decl),
            Err(what) => wrong = Some((what, position)),
        }
        wrong.is_none()
    });
    match wrong {
        None => Ok(params),
        Some((what, position)) => {
            let mut diagnostic = Diagnostic::new(Kind::Parameter, what)
                .help(HELP)
                .help("declarations are read without running the script, so that `--help` sends nothing");
            diagnostic.places.extend(token::place(sources, source, position));
            Err(diagnostic)
        }
    }
}

fn param_call<'a>(node: &ASTNode<'a>) -> Option<(&'a FnCallExpr, Position)> {
    let (call, position) = match node {
        ASTNode::Expr(Expr::FnCall(call, position)) | ASTNode::Stmt(Stmt::FnCall(call, position)) => (call, *position),
        _ => return None,
    };
    (call.name == "param" && call.namespace.is_empty()).then_some((call, position))
}

/// Returns whether a node is evaluated exactly once, whatever happens: it hangs on a top-level statement by
/// expressions only.
fn is_top_level(path: &[ASTNode], top: &[Stmt]) -> bool {
    let ASTNode::Stmt(root) = path[0] else { return false };
    let plain = matches!(root, Stmt::Var(..) | Stmt::Expr(..) | Stmt::FnCall(..) | Stmt::Assignment(..));
    let expressions = path[1..].iter().zip(path).all(|(node, parent)| match node {
        // `${…}` in a string is a block of its own.
        ASTNode::Expr(Expr::Stmt(block)) => {
            matches!(parent, ASTNode::Expr(Expr::InterpolatedString(..))) && block.len() == 1
        }
        ASTNode::Expr(expr) => !matches!(expr, Expr::And(..) | Expr::Or(..) | Expr::Coalesce(..)),
        ASTNode::Stmt(Stmt::Expr(..) | Stmt::FnCall(..)) => matches!(parent, ASTNode::Expr(Expr::Stmt(..))),
        _ => false,
    });
    plain && expressions && top.iter().any(|stmt| std::ptr::eq(stmt, root))
}

fn declaration(call: &FnCallExpr, position: Position) -> Result<ParamDecl, String> {
    let literal = |index: usize, what: &str| {
        let wrong = || format!("the {what} of a `param` is a literal");
        let literal = call.args[index].get_literal_value(None).ok_or_else(wrong)?;
        value::to_json(&literal).map_err(|_| wrong())
    };
    let text = |index: usize, what: &str| match literal(index, what)? {
        Value::String(text) => Ok(text),
        _ => Err(format!("the {what} of a `param` is a string")),
    };
    let (default, help) = match call.args.len() {
        2 => (None, text(1, "help")?),
        3 => (Some(literal(1, "default")?), text(2, "help")?),
        other => return Err(format!("`param` takes 2 or 3 arguments, not {other}")),
    };
    if matches!(default, Some(Value::Null | Value::Object(_))) {
        return Err("the default of a `param` is a string, a number, a boolean or an array".to_owned());
    }
    let name = text(0, "name")?;
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(good) {
        return Err(format!("`{name}` is no name for a parameter: it is made of `a` to `z`, digits and `_`"));
    }
    let (line, column) = (position.line().unwrap_or(1), position.position().unwrap_or(1));
    Ok(ParamDecl { name, default, help, line, column })
}
