//! Goes through a tree with the scopes that Rhai would have.
//!
//! A closure is a function of its own in the tree. Its leading parameters are the variables it captures, and where it
//! is written stands a call of `curry` with them; so a name that nothing declares shows up there.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{
    AST, ASTFlags, ASTNode, Dynamic, Expr, FnAccess, FnCallExpr, FnPtr, Position, ScriptFuncDef, Stmt,
    SwitchCasesCollection,
};
use serde_json::Value;

use super::calls::{Access, Arg, Call, Entry, Function, Import, Origin, Outline, Shape, Trap, Undeclared};
use super::value;

const ANONYMOUS: &str = "anon$";

/// A variable in scope.
struct Binding {
    name: String,
    /// Captured by a closure before this point.
    shared: bool,
    /// Where its value comes from.
    origin: Origin,
}

impl Binding {
    fn new(name: &str) -> Binding {
        Binding { name: name.to_owned(), shared: false, origin: Origin::Unknown }
    }
}

pub(super) struct Walk<'a> {
    found: Outline,
    scope: Vec<Binding>,
    closures: BTreeMap<String, &'a ScriptFuncDef>,
    functions: BTreeSet<String>,
    modules: BTreeSet<String>,
    visited: BTreeSet<String>,
    /// Variables that are assigned to somewhere: their values come from several places.
    reassigned: BTreeSet<String>,
    within: Option<String>,
    loops: usize,
    /// Whether the closure under way has a `return`.
    returns: bool,
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
            reassigned: reassigned(ast),
            within: None,
            loops: 0,
            returns: false,
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
            walk.scope = def.params.iter().map(|name| Binding::new(name)).collect();
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

    fn declare(&mut self, name: &str, origin: Origin) {
        let origin = if self.reassigned.contains(name) { Origin::Unknown } else { origin };
        self.scope.push(Binding { origin, ..Binding::new(name) });
    }

    fn scoped(&mut self, statements: &'a [Stmt]) -> Origin {
        let depth = self.scope.len();
        let origin = self.block(statements);
        self.scope.truncate(depth);
        origin
    }

    /// Goes through statements; returns where the value of the last one comes from.
    fn block(&mut self, statements: &'a [Stmt]) -> Origin {
        statements.iter().fold(Origin::Unknown, |_, statement| self.statement(statement))
    }

    fn statement(&mut self, statement: &'a Stmt) -> Origin {
        match statement {
            Stmt::Expr(expression) => return self.expression(expression),
            Stmt::FnCall(call, position) => return self.call(call, *position, None),
            Stmt::Block(block) => return self.scoped(block.statements()),
            Stmt::Var(parts, ..) => {
                let origin = self.expression(&parts.1);
                self.declare(&parts.0.name, origin);
            }
            Stmt::Assignment(parts) => {
                self.assigned(&parts.1.lhs);
                self.expression(&parts.1.lhs);
                self.expression(&parts.1.rhs);
            }
            Stmt::If(flow, _) => {
                self.expression(&flow.expr);
                self.scoped(flow.body.statements());
                self.scoped(flow.branch.statements());
            }
            Stmt::While(flow, position) => {
                self.expression(&flow.expr);
                self.repeated(flow.body.statements());
                let endless = matches!(flow.expr, Expr::Unit(_) | Expr::BoolConstant(true, _));
                if endless && !ends(flow.body.statements(), 0) {
                    self.found.traps.push(Trap::EndlessLoop(*position));
                }
            }
            Stmt::Do(flow, ..) => {
                self.repeated(flow.body.statements());
                self.expression(&flow.expr);
            }
            Stmt::For(parts, _) => {
                let (item, counter, flow) = &**parts;
                let origin = self.expression(&flow.expr);
                let depth = self.scope.len();
                self.declare(&item.name, element(origin));
                counter.iter().for_each(|counter| self.declare(&counter.name, Origin::Unknown));
                self.repeated(flow.body.statements());
                self.scope.truncate(depth);
            }
            Stmt::TryCatch(flow, _) => {
                self.scoped(flow.body.statements());
                let depth = self.scope.len();
                if let Expr::Variable(variable, ..) = &flow.expr {
                    self.declare(&variable.1, Origin::Caught);
                }
                self.block(flow.branch.statements());
                self.scope.truncate(depth);
            }
            Stmt::Switch(parts, position) => self.switch(parts, *position),
            Stmt::Return(value, ..) => {
                self.returns = true;
                value.iter().for_each(|value| {
                    self.expression(value);
                });
            }
            Stmt::BreakLoop(Some(value), ..) => {
                self.expression(value);
            }
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
        Origin::Unknown
    }

    fn repeated(&mut self, statements: &'a [Stmt]) {
        self.loops += 1;
        self.scoped(statements);
        self.loops -= 1;
    }

    fn switch(&mut self, parts: &'a (Expr, SwitchCasesCollection), position: Position) {
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

    /// Goes through an expression; returns where its value comes from.
    fn expression(&mut self, expression: &'a Expr) -> Origin {
        match expression {
            Expr::DynamicConstant(constant, _) => {
                if let Some(name) = closure_name(constant) {
                    self.closure(&name, 0, Origin::Unknown);
                }
            }
            Expr::InterpolatedString(parts, _) | Expr::Array(parts, _) => parts.iter().for_each(|part| {
                self.expression(part);
            }),
            Expr::And(parts, _) | Expr::Or(parts, _) | Expr::Coalesce(parts, _) => parts.iter().for_each(|part| {
                self.expression(part);
            }),
            Expr::Map(parts, _) => {
                for (key, value) in &parts.0 {
                    self.found.keys.insert(key.name.to_string());
                    if let (Expr::StringConstant(kind, _), "kind") = (value, key.name.as_str()) {
                        self.found.own_kinds.insert(kind.to_string());
                    }
                    self.expression(value);
                }
            }
            Expr::Variable(parts, _, position) => {
                let (_, name, namespace, _) = &**parts;
                if namespace.is_empty() {
                    return self.variable(name, *position);
                }
                let module = namespace.path[0].name.to_string();
                self.found.qualified.push((module, name.to_string(), *position));
            }
            Expr::Stmt(block) => return self.scoped(block.statements()),
            Expr::FnCall(call, position) => return self.call(call, *position, None),
            Expr::Dot(parts, ..) => {
                let receiver = self.expression(&parts.lhs);
                return self.chain(receiver, &parts.rhs);
            }
            Expr::Index(parts, flags, _) => {
                let receiver = self.expression(&parts.lhs);
                return self.index(receiver, &parts.rhs, *flags);
            }
            _ => {}
        }
        Origin::Unknown
    }

    /// Goes on in a chain of `.` and `[…]`, which hangs together from the right.
    fn chain(&mut self, receiver: Origin, step: &'a Expr) -> Origin {
        match step {
            Expr::Property(parts, position) => {
                let property = parts.2.to_string();
                if receiver == Origin::Unknown {
                    return Origin::Unknown;
                }
                let access = Access { origin: receiver.clone(), property: property.clone(), position: *position };
                self.found.accesses.push(access);
                Origin::Property(Box::new(receiver), property)
            }
            Expr::MethodCall(call, position) => self.call(call, *position, Some(receiver)),
            Expr::Dot(parts, ..) => {
                let next = self.chain(receiver, &parts.lhs);
                self.chain(next, &parts.rhs)
            }
            Expr::Index(parts, flags, _) => {
                let next = self.chain(receiver, &parts.lhs);
                self.index(next, &parts.rhs, *flags)
            }
            other => self.expression(other),
        }
    }

    /// Goes through what stands behind a `[`: the index alone, or the index and the rest of the chain.
    fn index(&mut self, receiver: Origin, step: &'a Expr, flags: ASTFlags) -> Origin {
        match step {
            Expr::Dot(parts, ..) if !flags.intersects(ASTFlags::BREAK) => {
                self.expression(&parts.lhs);
                self.chain(element(receiver), &parts.rhs)
            }
            Expr::Index(parts, more, _) if !flags.intersects(ASTFlags::BREAK) => {
                self.expression(&parts.lhs);
                self.index(element(receiver), &parts.rhs, *more)
            }
            index => {
                self.expression(index);
                element(receiver)
            }
        }
    }

    /// Goes into a closure, whose first `captured` parameters are variables of the place where it is written and the
    /// next one is `given`; returns where its value comes from.
    fn closure(&mut self, name: &str, captured: usize, given: Origin) -> Origin {
        let Some(def) = self.closures.get(name).copied() else { return Origin::Unknown };
        if !self.visited.insert(name.to_owned()) {
            return Origin::Unknown;
        }
        let outer = std::mem::take(&mut self.scope);
        let (loops, returns) = (std::mem::take(&mut self.loops), std::mem::take(&mut self.returns));
        for (index, name) in def.params.iter().enumerate() {
            let origin = match index {
                _ if index < captured => outer
                    .iter()
                    .rev()
                    .find(|binding| binding.name == name.as_str())
                    .map(|binding| binding.origin.clone()),
                _ if index == captured => Some(given.clone()),
                _ => None,
            };
            self.declare(name, origin.unwrap_or_default());
            if let Some(last) = self.scope.last_mut() {
                last.shared = index < captured;
            }
        }
        let result = self.block(def.body.statements());
        let result = if self.returns { Origin::Unknown } else { result };
        (self.scope, self.loops, self.returns) = (outer, loops, returns);
        result
    }

    fn variable(&mut self, name: &str, position: Position) -> Origin {
        if let Some(binding) = self.scope.iter().rev().find(|binding| binding.name == name) {
            return binding.origin.clone();
        }
        if self.functions.contains(name) {
            self.found.mentioned.push((name.to_owned(), self.within.clone()));
            return Origin::Unknown;
        }
        if matches!(name, "this" | "global") {
            return Origin::Unknown;
        }
        let mut visible: Vec<String> = self.scope.iter().map(|binding| binding.name.clone()).collect();
        visible.sort();
        visible.dedup();
        let in_function = self.within.is_some();
        self.found.undeclared.push(Undeclared { name: name.to_owned(), position, in_function, visible });
        Origin::Unknown
    }

    /// Goes through a call, of a method where there is a receiver.
    fn call(&mut self, call: &'a FnCallExpr, position: Position, receiver: Option<Origin>) -> Origin {
        let method = receiver.is_some();
        if let (Some((name, captured)), false) = (curried(call), method) {
            call.args[1..].iter().for_each(|captured| {
                self.expression(captured);
            });
            return self.closure(&name, captured, Origin::Unknown);
        }
        let mut namespace: Vec<String> = call.namespace.path.iter().map(|part| part.name.to_string()).collect();
        // `global::f` is the script's own.
        namespace.retain(|part| part != "global");
        let (name, within) = (call.name.to_string(), self.within.clone());
        let host = namespace.is_empty() && !self.functions.contains(&name) && !call.is_operator_call();
        let given = match &receiver {
            Some(receiver) => element(receiver.clone()),
            None if host => Origin::Given(name.clone()),
            None => Origin::Unknown,
        };
        let mut result = Origin::Unknown;
        let mut compares_kind = false;
        for arg in call.args.iter() {
            match written_closure(arg) {
                Some((share, closure, captured, variables)) => {
                    share.iter().for_each(|share| {
                        self.statement(share);
                    });
                    variables.iter().for_each(|variable| {
                        self.expression(variable);
                    });
                    result = self.closure(&closure, captured, given.clone());
                }
                None => {
                    let origin = self.expression(arg);
                    compares_kind |= matches!(&origin, Origin::Property(of, name) if is_error(of) && name == "kind");
                }
            }
        }
        if call.is_operator_call() {
            if compares_kind && matches!(call.name.as_str(), "==" | "!=") {
                let literals = call.args.iter().filter_map(|arg| match arg {
                    Expr::StringConstant(kind, position) => Some((kind.to_string(), *position)),
                    _ => None,
                });
                self.found.kinds.extend(literals);
            }
            return Origin::Unknown;
        }
        let args: Vec<Arg> = call.args.iter().map(|arg| self.arg(arg)).collect();
        if let ("Fn", Some(pointed)) = (name.as_str(), args.first().and_then(Arg::text)) {
            self.found.mentioned.push((pointed.to_owned(), within.clone()));
        }
        self.found.calls.push(Call { name: name.clone(), namespace, args, method, within, position });
        match receiver {
            Some(Origin::Unknown) => Origin::Unknown,
            Some(receiver) => Origin::Method(Box::new(receiver), name),
            None if host => Origin::Call(name, Box::new(result)),
            None => Origin::Unknown,
        }
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
            closure if written_closure(closure).is_some() => match written_closure(closure) {
                Some((_, name, captured, _)) => self.closure_shape(name, captured),
                None => Shape::Other,
            },
            other => match other.get_literal_value(None).map(|literal| value::to_json(&literal)) {
                Some(Ok(literal @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)))) => {
                    Shape::Literal(literal)
                }
                _ => Shape::Other,
            },
        }
    }

    fn closure_shape(&self, name: String, captured: usize) -> Shape {
        let params = self.closures.get(&name).map_or(0, |def| def.params.len().saturating_sub(captured));
        Shape::Closure(name, params)
    }
}

/// Returns whether a value is an error: caught, or given to `on_failure`.
fn is_error(origin: &Origin) -> bool {
    match origin {
        Origin::Caught => true,
        Origin::Given(name) => name == "on_failure",
        _ => false,
    }
}

fn element(list: Origin) -> Origin {
    if list == Origin::Unknown { list } else { Origin::Element(Box::new(list)) }
}

fn closure_name(constant: &Dynamic) -> Option<String> {
    constant.read_lock::<FnPtr>().map(|closure| closure.fn_name().to_owned())
}

/// Returns name and number of captured variables of a closure that captures some.
fn curried(call: &FnCallExpr) -> Option<(String, usize)> {
    match call.args.first() {
        Some(Expr::DynamicConstant(constant, _)) if call.name == "curry" => {
            closure_name(constant).map(|name| (name, call.args.len() - 1))
        }
        _ => None,
    }
}

/// What an expression is made of that writes a closure: statements that share variables, name, number of captured
/// variables, and those variables.
fn written_closure(expression: &Expr) -> Option<(&[Stmt], String, usize, &[Expr])> {
    match expression {
        Expr::DynamicConstant(constant, _) => closure_name(constant).map(|name| (&[][..], name, 0, &[][..])),
        Expr::Stmt(block) => match block.statements() {
            [share @ Stmt::Share(_), Stmt::Expr(curry)] => match &**curry {
                Expr::FnCall(call, _) => {
                    curried(call).map(|(name, captured)| (std::slice::from_ref(share), name, captured, &call.args[1..]))
                }
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// Returns the names of all variables that something is assigned to.
fn reassigned(ast: &AST) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    ast.walk(&mut |path| {
        if let Some(ASTNode::Stmt(Stmt::Assignment(parts))) = path.last()
            && let Expr::Variable(variable, ..) = &parts.1.lhs
        {
            names.insert(variable.1.to_string());
        }
        true
    });
    names
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
        Stmt::Var(parts, flags, _) => Some((parts.0.name.to_string(), flags.intersects(ASTFlags::CONSTANT))),
        _ => None,
    }
}

/// Returns whether something in a loop's body can end the loop; `depth` counts the loops within it.
fn ends(statements: &[Stmt], depth: usize) -> bool {
    statements.iter().any(|statement| match statement {
        Stmt::BreakLoop(_, flags, _) => depth == 0 && flags.intersects(ASTFlags::BREAK),
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
