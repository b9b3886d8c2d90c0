//! Goes through a tree with the scopes that Rhai would have.
//!
//! A closure is a function of its own in the tree. Its leading parameters are the variables it captures, and where it
//! is written stands a call of `curry` with them; so a name that nothing declares shows up there.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, Dynamic, Expr, FnAccess, FnCallExpr, FnPtr, Position, ScriptFuncDef, Stmt};
use serde_json::Value;

use super::calls::{Arg, Call, Entry, Function, Import, Outline, Shape, Trap, Undeclared};
use super::value;

const ANONYMOUS: &str = "anon$";

/// A variable in scope.
struct Binding {
    name: String,
    /// Captured by a closure before this point.
    shared: bool,
}

pub(super) struct Walk<'a> {
    found: Outline,
    scope: Vec<Binding>,
    closures: BTreeMap<String, &'a ScriptFuncDef>,
    functions: BTreeSet<String>,
    modules: BTreeSet<String>,
    visited: BTreeSet<String>,
    within: Option<String>,
    loops: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn over(ast: &'a AST) -> Outline {
        let mut walk = Walk {
            found: Outline::default(),
            scope: Vec::new(),
            closures: BTreeMap::new(),
            functions: BTreeSet::new(),
            modules: BTreeSet::new(),
            visited: BTreeSet::new(),
            within: None,
            loops: 0,
        };
        for def in ast.iter_fn_def() {
            if def.name.starts_with(ANONYMOUS) {
                walk.closures.insert(def.name.to_string(), def);
            } else {
                walk.functions.insert(def.name.to_string());
                walk.found.functions.push(function(def));
            }
        }
        walk.block(ast.statements());
        walk.found.globals = ast.statements().iter().filter_map(global).collect();
        walk.scope.clear();
        for def in ast.iter_fn_def().filter(|def| !def.name.starts_with(ANONYMOUS)) {
            walk.scope = def.params.iter().map(|name| Binding { name: name.to_string(), shared: false }).collect();
            walk.loops = 0;
            walk.within = Some(def.name.to_string());
            walk.block(def.body.statements());
            walk.scope.clear();
        }
        let mut found = walk.found;
        let key = |position: Position| (position.line(), position.position());
        found.calls.sort_by_key(|call| key(call.position));
        found.undeclared.sort_by_key(|name| key(name.position));
        found.functions.sort_by(|a, b| (&a.name, a.params.len()).cmp(&(&b.name, b.params.len())));
        found
    }

    fn declare(&mut self, name: &str) {
        self.scope.push(Binding { name: name.to_owned(), shared: false });
    }

    fn scoped(&mut self, statements: &'a [Stmt]) {
        let depth = self.scope.len();
        self.block(statements);
        self.scope.truncate(depth);
    }

    fn block(&mut self, statements: &'a [Stmt]) {
        statements.iter().for_each(|statement| self.statement(statement));
    }

    fn statement(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::Var(parts, ..) => {
                self.expression(&parts.1);
                self.declare(&parts.0.name);
            }
            Stmt::Assignment(parts) => {
                self.assigned(&parts.1.lhs);
                self.expression(&parts.1.lhs);
                self.expression(&parts.1.rhs);
            }
            Stmt::Expr(expression) => self.expression(expression),
            Stmt::FnCall(call, position) => self.call(call, *position, false),
            Stmt::Block(block) => self.scoped(block.statements()),
            Stmt::If(flow, _) => {
                self.expression(&flow.expr);
                self.scoped(flow.body.statements());
                self.scoped(flow.branch.statements());
            }
            Stmt::While(flow, position) => {
                self.expression(&flow.expr);
                self.loops += 1;
                self.scoped(flow.body.statements());
                self.loops -= 1;
                if matches!(flow.expr, Expr::Unit(_) | Expr::BoolConstant(true, _)) && !ends(flow.body.statements(), 0)
                {
                    self.found.traps.push(Trap::EndlessLoop(*position));
                }
            }
            Stmt::Do(flow, ..) => {
                self.loops += 1;
                self.scoped(flow.body.statements());
                self.loops -= 1;
                self.expression(&flow.expr);
            }
            Stmt::For(parts, _) => {
                let (item, counter, flow) = &**parts;
                self.expression(&flow.expr);
                let depth = self.scope.len();
                self.declare(&item.name);
                counter.iter().for_each(|counter| self.declare(&counter.name));
                self.loops += 1;
                self.block(flow.body.statements());
                self.loops -= 1;
                self.scope.truncate(depth);
            }
            Stmt::TryCatch(flow, _) => {
                self.scoped(flow.body.statements());
                let depth = self.scope.len();
                if let Expr::Variable(variable, ..) = &flow.expr {
                    self.declare(&variable.1);
                }
                self.block(flow.branch.statements());
                self.scope.truncate(depth);
            }
            Stmt::Switch(parts, position) => self.switch(parts, *position),
            Stmt::Return(Some(expression), ..) | Stmt::BreakLoop(Some(expression), ..) => self.expression(expression),
            Stmt::Import(parts, _) => {
                let path = match &parts.0 {
                    Expr::StringConstant(path, _) => Some(path.to_string()),
                    _ => None,
                };
                self.expression(&parts.0);
                let alias = parts.1.name.to_string();
                if !alias.is_empty() {
                    self.modules.insert(alias.clone());
                }
                self.found.imports.push(Import { path, alias, position: parts.0.start_position() });
            }
            Stmt::Export(parts, _) => {
                let (name, alias) = &**parts;
                self.variable(&name.name, name.pos);
                self.found.exports.push(if alias.is_empty() { name } else { alias }.name.to_string());
            }
            Stmt::Share(captured) => {
                for (name, _) in captured.iter() {
                    if let Some(binding) = self.scope.iter_mut().rev().find(|binding| binding.name == name.name) {
                        binding.shared = true;
                    }
                }
            }
            _ => {}
        }
    }

    fn switch(&mut self, parts: &'a (Expr, rhai::SwitchCasesCollection), position: Position) {
        let (subject, cases) = parts;
        if let Expr::Variable(variable, _, at) = subject
            && self.scope.iter().rev().find(|binding| binding.name == variable.1.as_str()).is_some_and(|b| b.shared)
        {
            self.found.traps.push(Trap::SwitchOnCaptured(variable.1.to_string(), *at));
        }
        self.expression(subject);
        let mut listed: Vec<usize> = cases.cases.values().flat_map(|blocks| blocks.iter().copied()).collect();
        let conditional = |&index: &usize| !matches!(cases.expressions[index].lhs, Expr::BoolConstant(true, _));
        if !cases.ranges.is_empty() && listed.iter().any(conditional) {
            self.found.traps.push(Trap::SwitchRangeAfterIf(position));
        }
        listed.extend(cases.ranges.iter().map(|range| range.index()));
        listed.extend(cases.def_case);
        listed.sort_unstable();
        listed.dedup();
        for index in listed {
            self.expression(&cases.expressions[index].lhs);
            self.expression(&cases.expressions[index].rhs);
        }
    }

    /// Notes the property of an assignment's left side.
    fn assigned(&mut self, target: &Expr) {
        if let Expr::Dot(parts, ..) | Expr::Index(parts, ..) = target {
            match &parts.rhs {
                Expr::Property(property, _) => {
                    self.found.keys.insert(property.2.to_string());
                }
                Expr::StringConstant(key, _) => {
                    self.found.keys.insert(key.to_string());
                }
                rest => self.assigned(rest),
            }
        }
    }

    fn expression(&mut self, expression: &'a Expr) {
        match expression {
            Expr::DynamicConstant(constant, _) => self.constant(constant),
            Expr::InterpolatedString(parts, _) | Expr::Array(parts, _) => {
                parts.iter().for_each(|part| self.expression(part));
            }
            Expr::And(parts, _) | Expr::Or(parts, _) | Expr::Coalesce(parts, _) => {
                parts.iter().for_each(|part| self.expression(part));
            }
            Expr::Map(parts, _) => {
                for (key, value) in &parts.0 {
                    self.found.keys.insert(key.name.to_string());
                    self.expression(value);
                }
            }
            Expr::Variable(parts, _, position) => {
                let (_, name, namespace, _) = &**parts;
                if namespace.is_empty() {
                    self.variable(name, *position);
                } else {
                    let module = namespace.path[0].name.to_string();
                    self.found.qualified.push((module, name.to_string(), *position));
                }
            }
            Expr::Stmt(block) => self.scoped(block.statements()),
            Expr::FnCall(call, position) => self.call(call, *position, false),
            Expr::MethodCall(call, position) => self.call(call, *position, true),
            Expr::Dot(parts, ..) | Expr::Index(parts, ..) => {
                self.expression(&parts.lhs);
                self.expression(&parts.rhs);
            }
            _ => {}
        }
    }

    fn constant(&mut self, constant: &Dynamic) {
        let closure = constant.read_lock::<FnPtr>().map(|closure| closure.fn_name().to_owned());
        if let Some(name) = closure {
            self.closure(&name, 0);
        }
    }

    /// Goes into a closure; its first `captured` parameters are variables of the place where it is written.
    fn closure(&mut self, name: &str, captured: usize) {
        let Some(def) = self.closures.get(name).copied() else { return };
        if !self.visited.insert(name.to_owned()) {
            return;
        }
        let outer = std::mem::take(&mut self.scope);
        let loops = std::mem::take(&mut self.loops);
        let params = def.params.iter().enumerate();
        self.scope = params.map(|(i, name)| Binding { name: name.to_string(), shared: i < captured }).collect();
        self.block(def.body.statements());
        self.scope = outer;
        self.loops = loops;
    }

    fn variable(&mut self, name: &str, position: Position) {
        let known = self.scope.iter().any(|binding| binding.name == name)
            || self.functions.contains(name)
            || matches!(name, "this" | "global");
        if known {
            return;
        }
        let mut visible: Vec<String> = self.scope.iter().map(|binding| binding.name.clone()).collect();
        visible.sort();
        visible.dedup();
        let in_function = self.within.is_some();
        self.found.undeclared.push(Undeclared { name: name.to_owned(), position, in_function, visible });
    }

    fn call(&mut self, call: &'a FnCallExpr, position: Position, method: bool) {
        if call.name == "curry" && !method && matches!(call.args.first(), Some(Expr::DynamicConstant(..))) {
            call.args[1..].iter().for_each(|captured| self.expression(captured));
            if let Some(Expr::DynamicConstant(constant, _)) = call.args.first()
                && let Some(name) = constant.read_lock::<FnPtr>().map(|closure| closure.fn_name().to_owned())
            {
                self.closure(&name, call.args.len() - 1);
            }
            return;
        }
        call.args.iter().for_each(|arg| self.expression(arg));
        if call.is_operator_call() {
            return;
        }
        let mut namespace: Vec<String> = call.namespace.path.iter().map(|part| part.name.to_string()).collect();
        // `global::f` is the script's own.
        namespace.retain(|part| part != "global");
        let args = call.args.iter().map(|arg| self.arg(arg)).collect();
        let (name, within) = (call.name.to_string(), self.within.clone());
        self.found.calls.push(Call { name, namespace, args, method, within, position });
    }

    fn arg(&self, expression: &Expr) -> Arg {
        Arg { shape: self.shape(expression), position: expression.start_position() }
    }

    fn shape(&self, expression: &Expr) -> Shape {
        match expression {
            Expr::InterpolatedString(..) => Shape::Text,
            Expr::Map(parts, _) => Shape::Map(
                parts
                    .0
                    .iter()
                    .map(|(key, value)| Entry { key: key.name.to_string(), position: key.pos, value: self.arg(value) })
                    .collect(),
            ),
            Expr::Array(items, _) => Shape::Array(items.iter().map(|item| self.arg(item)).collect()),
            Expr::Variable(parts, ..) if parts.2.is_empty() => Shape::Variable(parts.1.to_string()),
            Expr::DynamicConstant(constant, _) if constant.is_fnptr() => self.closure_shape(constant, 0),
            Expr::Stmt(block) => match block.statements() {
                [Stmt::Share(_), Stmt::Expr(curry)] => match &**curry {
                    Expr::FnCall(call, _) => match call.args.first() {
                        Some(Expr::DynamicConstant(constant, _)) => self.closure_shape(constant, call.args.len() - 1),
                        _ => Shape::Other,
                    },
                    _ => Shape::Other,
                },
                _ => Shape::Other,
            },
            other => match other.get_literal_value(None).map(|literal| value::to_json(&literal)) {
                Some(Ok(literal @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)))) => {
                    Shape::Literal(literal)
                }
                _ => Shape::Other,
            },
        }
    }

    fn closure_shape(&self, constant: &Dynamic, captured: usize) -> Shape {
        let Some(name) = constant.read_lock::<FnPtr>().map(|closure| closure.fn_name().to_owned()) else {
            return Shape::Other;
        };
        let params = self.closures.get(&name).map_or(0, |def| def.params.len().saturating_sub(captured));
        Shape::Closure(name, params)
    }
}

fn function(def: &ScriptFuncDef) -> Function {
    let doc = def.comments.iter().flat_map(|comment| comment.lines());
    let doc: Vec<&str> = doc.map(|line| line.trim_start_matches("///").trim()).collect();
    Function {
        name: def.name.to_string(),
        params: def.params.iter().map(ToString::to_string).collect(),
        private: def.access == FnAccess::Private,
        typed: def.this_type.is_some(),
        doc: doc.join("\n"),
    }
}

fn global(statement: &Stmt) -> Option<(String, bool)> {
    match statement {
        Stmt::Var(parts, flags, _) => Some((parts.0.name.to_string(), flags.intersects(rhai::ASTFlags::CONSTANT))),
        _ => None,
    }
}

/// Returns whether something in a loop's body can end the loop; `depth` counts the loops within it.
fn ends(statements: &[Stmt], depth: usize) -> bool {
    statements.iter().any(|statement| match statement {
        Stmt::BreakLoop(_, flags, _) => depth == 0 && flags.intersects(rhai::ASTFlags::BREAK),
        Stmt::Return(..) => true,
        Stmt::FnCall(call, _) => ends_script(call),
        Stmt::Expr(expression) => expression_ends(expression, depth),
        Stmt::Var(parts, ..) => expression_ends(&parts.1, depth),
        Stmt::Assignment(parts) => expression_ends(&parts.1.rhs, depth),
        Stmt::Block(block) => ends(block.statements(), depth),
        Stmt::If(flow, _) => ends(flow.body.statements(), depth) || ends(flow.branch.statements(), depth),
        Stmt::TryCatch(flow, _) => ends(flow.body.statements(), depth) || ends(flow.branch.statements(), depth),
        Stmt::While(flow, _) | Stmt::Do(flow, ..) => ends(flow.body.statements(), depth + 1),
        Stmt::For(parts, _) => ends(parts.2.body.statements(), depth + 1),
        Stmt::Switch(parts, _) => parts.1.expressions.iter().any(|case| expression_ends(&case.rhs, depth)),
        _ => false,
    })
}

fn expression_ends(expression: &Expr, depth: usize) -> bool {
    match expression {
        Expr::Stmt(block) => ends(block.statements(), depth),
        Expr::FnCall(call, _) => ends_script(call),
        Expr::And(parts, _) | Expr::Or(parts, _) | Expr::Coalesce(parts, _) => {
            parts.iter().any(|part| expression_ends(part, depth))
        }
        _ => false,
    }
}

/// A call may end the script by an error; only those that do nothing else count, and functions of the script.
fn ends_script(call: &FnCallExpr) -> bool {
    matches!(call.name.as_str(), "exit" | "fail")
}
