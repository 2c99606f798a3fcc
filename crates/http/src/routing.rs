//! A feature's routes, each with what documents it, told apart: serving never builds the documentation.
//!
//! Describing every answer fills megabytes with schemas that a running server never looks at. A [`Route`] therefore
//! keeps a function that can describe it, and only [`Routes::describe`] calls it: when the kept document is compared
//! with the code, or printed. Deliberately absent: paths and methods written a second time; both come from the
//! handler's annotation.

use axum::Router;
use axum::routing::{MethodFilter, MethodRouter};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{HttpMethod, PathItem};
use utoipa_axum::PathItemExt;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

/// One path with its handlers.
pub struct Route<S> {
    path: String,
    second: Option<SecondPath>,
    methods: MethodRouter<S>,
    describe: fn() -> UtoipaMethodRouter<S>,
}

struct SecondPath {
    path: String,
    id_ending: &'static str,
}

/// The routes of one feature; `S` is its handle.
pub struct Routes<S> {
    routes: Vec<Route<S>>,
}

/// One path and the handlers of its methods, by the names of the handlers.
#[macro_export]
macro_rules! feature_routes {
    ($first:ident $(, $more:ident)* $(,)?) => {
        $crate::Route::new(
            utoipa_axum::routes!(@path [path()] of $first),
            || utoipa_axum::routes!($first $(, $more)*),
        )
        .on(&utoipa_axum::routes!(@path [methods()] of $first), $first)
        $(.on(&utoipa_axum::routes!(@path [methods()] of $more), $more))*
    };
}

impl<S: Clone + Send + Sync + 'static> Route<S> {
    /// A path that answers nothing yet.
    pub fn new(path: String, describe: fn() -> UtoipaMethodRouter<S>) -> Self {
        Self { path, second: None, methods: MethodRouter::new(), describe }
    }

    /// A handler for some methods.
    #[must_use]
    pub fn on<H, T>(mut self, methods: &[HttpMethod], handler: H) -> Self
    where
        H: axum::handler::Handler<T, S>,
        T: 'static,
    {
        if let Some(filter) = methods.iter().map(HttpMethod::to_method_filter).reduce(MethodFilter::or) {
            self.methods = self.methods.on(filter, handler);
        }
        self
    }

    /// The path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The same handlers at a second path; the operation ids there end in `id_ending`.
    #[must_use]
    pub fn also_at(mut self, path: String, id_ending: &'static str) -> Self {
        self.second = Some(SecondPath { path, id_ending });
        self
    }

    fn described(self) -> UtoipaMethodRouter<S> {
        let (schemas, mut paths, methods) = (self.describe)();
        if let Some(second) = self.second {
            let item = paths.paths.get(&self.path).cloned().unwrap_or_default();
            paths.paths.insert(second.path, renamed(item, second.id_ending));
        }
        (schemas, paths, methods)
    }
}

fn renamed(mut item: PathItem, ending: &str) -> PathItem {
    let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
    for operation in operations.into_iter().flatten() {
        operation.operation_id = operation.operation_id.as_ref().map(|id| format!("{id}{ending}"));
    }
    item
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// These routes.
    pub fn new(routes: impl IntoIterator<Item = Route<S>>) -> Self {
        Self { routes: routes.into_iter().collect() }
    }

    /// The router that serves them.
    pub fn serve(self, handle: S) -> Router {
        let router = self.routes.into_iter().fold(Router::new(), |router, route| {
            let router = match route.second {
                Some(second) => router.route(&second.path, route.methods.clone()),
                None => router,
            };
            router.route(&route.path, route.methods)
        });
        router.with_state(handle)
    }

    /// What the API document says about them.
    pub fn describe(self) -> OpenApi {
        let routes = self.routes.into_iter().map(Route::described);
        routes.fold(OpenApiRouter::new(), OpenApiRouter::routes).into_openapi()
    }
}
