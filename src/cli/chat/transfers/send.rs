//! Files for the room, by the rules of conf-send: what it has begun goes on here, and the other way round.

use tokio_util::sync::CancellationToken;

use super::{End, Report, Send, Teller, Whole};
use crate::cli::send::files::{conclude, found, remembered};
use crate::cli::{Exit, Failure};
use crate::files::source::Found;
use crate::net::client::Config;
use crate::pipeline::upload::{self, News, Options, What};

/// Sends them; the session is its own.
pub(super) async fn run(job: Send, config: Config, stop: CancellationToken, tell: Teller) -> End {
    let (address, Send { paths, to, .. }) = (config.address.clone(), job);
    let looking = {
        let (address, to) = (address.clone(), to.clone());
        tokio::task::spawn_blocking(move || {
            let found = found(&paths, &globset::GlobSet::empty())?;
            let ledger = remembered(&found, &paths, to.as_deref(), &[], &address)?;
            Ok((found, ledger))
        })
    };
    let looked = tokio::select! {
        () = stop.cancelled() => return End::Stopped,
        looked = looking => looked,
    };
    let (found, ledger) = match looked {
        Ok(Ok(looked)) => looked,
        Ok(Err(failure)) => return End::Failed(failure),
        Err(error) => return End::Failed(Failure::new(Exit::Other, error.to_string())),
    };
    tell_left_out(&found, &tell);
    let files = found.files.clone();
    let options = Options {
        what: What::Files(found),
        to,
        wait: false,
        limit: None,
        restart: false,
        resume: false,
        ledger,
        named: false,
    };
    let report = move |news: News<'_>| match news {
        News::Begin { offer, title, before, .. } => {
            tell.tell(Report::Begun { offer, title: title.to_owned(), before });
        }
        News::Figures(figures) => tell.tell(Report::Figures(Box::new(figures.clone()))),
        News::Note(text) => tell.tell(Report::Note(text.to_owned())),
        News::File { .. } => {}
    };
    match conclude(upload::run(options, config, stop, report).await, &address) {
        Ok(None) => End::Stopped,
        Err(failure) => End::Failed(failure),
        Ok(Some(done)) => End::Whole(
            files
                .into_iter()
                .zip(done.sums.files())
                .map(|(file, sum)| Whole {
                    path: file.path.join("/"),
                    place: file.from,
                    size: sum.size,
                    md5: sum.md5,
                })
                .collect(),
        ),
    }
}

fn tell_left_out(found: &Found, tell: &Teller) {
    let more = found.left_out.len() + found.left_out_more;
    if let Some((path, why)) = found.left_out.first() {
        let shown = crate::files::source::shown(path);
        let more = if more > 1 { format!(", and {} more", more - 1) } else { String::new() };
        tell.tell(Report::Note(format!("not sent: {shown} ({why}){more}")));
    }
    if let Some(hidden) = found.hidden() {
        tell.tell(Report::Note(hidden));
    }
}
