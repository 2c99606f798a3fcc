//! The process around the app: log, threads and signals.

use std::process::ExitCode;
use std::time::Duration;

use crate::app::{App, StartError};
use crate::settings::{BOT_DATA_DIR, BOT_LOG_DIR, Settings};
use crate::terminal::{print_notice, report_failure, report_refusal};
use botops_core::signals::{SignalRequest, Signals};
use botops_core::telemetry;

/// Starts the app, calls `ready` once the API answers, serves until a signal asks for the end, calls `last` and stops.
pub(crate) fn serve_until_signal(
    settings: Settings,
    ready: impl AsyncFnOnce(&App),
    last: impl AsyncFnOnce(&App),
) -> ExitCode {
    let mut faults = Vec::new();
    let logging = match telemetry::start_logging(
        &settings.log_dir,
        "botops",
        Some("operators"),
        &settings.log_filter,
        &settings.secrets(),
    ) {
        Ok(logging) => Some(logging),
        // The data folder is there and the log is not: whoever looks for the reason still finds botops.
        Err(error) if settings.data_dir.is_dir() => {
            let folder = settings.log_dir.display();
            let fault = format!(
                "The log in {folder} cannot be written ({error}), so nothing is logged. Free space there, or remove what is in its \
                 place, and restart botops."
            );
            print_notice(&format!("botops: {fault}"));
            faults.push(fault);
            None
        }
        Err(error) => {
            let is_inside = settings.log_dir.starts_with(&settings.data_dir);
            let setting = if is_inside { BOT_DATA_DIR.name } else { BOT_LOG_DIR.name };
            return report_refusal(&[format!(
                "{setting}: the folder cannot be used ({error}). Name a folder that this user can write."
            )]);
        }
    };
    let workers = settings.workers;
    let Ok(runtime) =
        tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()
    else {
        return report_failure("the runtime could not be started");
    };
    let code = runtime.block_on(async {
        let mut signals = match Signals::catch() {
            Ok(signals) => signals,
            Err(error) => return report_failure(&format!("signals cannot be caught ({error})")),
        };
        let app = match App::start(settings, faults).await {
            Ok(app) => app,
            Err(StartError::Part(error)) => {
                let cause = error.cause_for_log().unwrap_or_default();
                return report_refusal(&[format!("{error} ({cause})")]);
            }
            Err(error) => return report_refusal(&[error.to_string()]),
        };
        ready(&app).await;
        let code = wait_for_end(&app, &mut signals).await;
        last(&app).await;
        app.stop().await;
        code
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(logging);
    code
}

/// Waits until a signal asks for the end or a part has failed without which botops cannot work.
async fn wait_for_end(app: &App, signals: &mut Signals) -> ExitCode {
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                SignalRequest::Stop => return ExitCode::SUCCESS,
                SignalRequest::Reopen => {
                    telemetry::reopen_logs();
                    tracing::info!("the log files are opened anew");
                }
            },
            () = app.failed() => return ExitCode::FAILURE,
        }
    }
}
