//! The routes of a feature: what serves them and, separately, what documents them.
//!
//! Documenting every answer takes megabytes of schemas that a running server does not need. A [`FeatureRoute`]
//! therefore has a function that describes it, and only [`FeatureRoutes::describe`] calls it: when the committed
//! document is compared with the code, or printed. Paths and methods come from the handler's annotation. The error
//! codes of a handler are listed where it is mounted; the document's refusals with their statuses and texts are made
//! from them.

use axum::Router;
use axum::routing::{MethodFilter, MethodRouter};
use utoipa::openapi::OpenApi;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{HttpMethod, PathItem};
use utoipa_axum::PathItemExt;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use botops_core::error::Code;

/// One path with its handlers.
pub struct FeatureRoute<S> {
    path: String,
    second: Option<AliasPath>,
    methods: MethodRouter<S>,
    refusals: Vec<(Vec<HttpMethod>, &'static [Code])>,
    describe: fn() -> UtoipaMethodRouter<S>,
}

struct AliasPath {
    path: String,
    id_ending: &'static str,
}

/// The routes of one feature; `S` is the feature's handle, which the handlers get as their state.
pub struct FeatureRoutes<S> {
    routes: Vec<FeatureRoute<S>>,
}

/// A [`FeatureRoute`] from the names of one path's handlers.
///
/// Each lists the codes that it may fail with, besides those that any request can meet:
/// `routes!(add_item.refuses(ItemInvalid, ItemExists), list_items)`.
#[macro_export]
macro_rules! feature_routes {
    ($first:ident $(.refuses $codes:tt)? $(, $more:ident $(.refuses $more_codes:tt)?)* $(,)?) => {
        $crate::FeatureRoute::new(
            utoipa_axum::routes!(@path [path()] of $first),
            || utoipa_axum::routes!($first $(, $more)*),
        )
        .on(&utoipa_axum::routes!(@path [methods()] of $first), $first, $crate::feature_codes!($($codes)?))
        $(.on(
            &utoipa_axum::routes!(@path [methods()] of $more),
            $more,
            $crate::feature_codes!($($more_codes)?),
        ))*
    };
}

/// The codes of `feature_routes!`, by their names.
#[doc(hidden)]
#[macro_export]
macro_rules! feature_codes {
    ($(($($code:ident),* $(,)?))?) => {
        &[$($($crate::Code::$code),*)?]
    };
}

impl<S: Clone + Send + Sync + 'static> FeatureRoute<S> {
    /// A path without handlers; [`Self::on`] adds them.
    pub fn new(path: String, describe: fn() -> UtoipaMethodRouter<S>) -> Self {
        Self { path, second: None, methods: MethodRouter::new(), refusals: Vec::new(), describe }
    }

    /// Adds a handler for some methods, with the codes that it may fail with.
    #[must_use]
    pub fn on<H, T>(mut self, methods: &[HttpMethod], handler: H, refuses: &'static [Code]) -> Self
    where
        H: axum::handler::Handler<T, S>,
        T: 'static,
    {
        if let Some(filter) = methods.iter().map(HttpMethod::to_method_filter).reduce(MethodFilter::or) {
            self.methods = self.methods.on(filter, handler);
        }
        self.refusals.push((methods.to_vec(), refuses));
        self
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// Serves the same handlers at a second path; the operation ids there get the suffix `id_ending`.
    #[must_use]
    pub fn also_at(mut self, path: String, id_ending: &'static str) -> Self {
        self.second = Some(AliasPath { path, id_ending });
        self
    }

    fn described(self) -> UtoipaMethodRouter<S> {
        let (schemas, mut paths, methods) = (self.describe)();
        if let Some(item) = paths.paths.get_mut(&self.path) {
            for (methods, codes) in &self.refusals {
                methods.iter().for_each(|method| list_codes(item, method, codes));
            }
        }
        if let Some(second) = self.second {
            let item = paths.paths.get(&self.path).cloned().unwrap_or_default();
            paths.paths.insert(second.path, renamed(item, second.id_ending));
        }
        (schemas, paths, methods)
    }
}

/// Lists the codes at the operation; the program makes its responses from them and from the codes of the guard.
fn list_codes(item: &mut PathItem, method: &HttpMethod, codes: &[Code]) {
    let operation = match method {
        HttpMethod::Get => &mut item.get,
        HttpMethod::Put => &mut item.put,
        HttpMethod::Post => &mut item.post,
        HttpMethod::Delete => &mut item.delete,
        // No feature uses another method.
        _ => return,
    };
    let Some(operation) = operation.as_mut().filter(|_| !codes.is_empty()) else { return };
    let names: Vec<_> = codes.iter().map(|code| code.row().code).collect();
    let listed = Extensions::builder().add("x-error-codes", names).build();
    operation.extensions.get_or_insert_default().merge(listed);
}

fn renamed(mut item: PathItem, ending: &str) -> PathItem {
    let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
    for operation in operations.into_iter().flatten() {
        operation.operation_id = operation.operation_id.as_ref().map(|id| format!("{id}{ending}"));
    }
    item
}

impl<S: Clone + Send + Sync + 'static> FeatureRoutes<S> {
    pub fn new(routes: impl IntoIterator<Item = FeatureRoute<S>>) -> Self {
        Self { routes: routes.into_iter().collect() }
    }

    /// The router that serves the routes with this handle.
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

    /// The part of the API document for these routes.
    pub fn describe(self) -> OpenApi {
        let routes = self.routes.into_iter().map(FeatureRoute::described);
        routes.fold(OpenApiRouter::new(), OpenApiRouter::routes).into_openapi()
    }
}
