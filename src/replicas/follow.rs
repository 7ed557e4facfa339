//! What a replica does while another one is the writer, or none is: it hands every commit
//! to its registry, and stands for election.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};
use tracing::{info, warn};

use super::{End, Shared, link::stopped};
use crate::{
    registry::Event,
    store::{
        StoreError,
        etcd::{Campaign, LOOK, Leadership, Replica, Seen, Watch, WatchEnd},
    },
};

/// How often a replica looks whether there is a writer, if it knows of one. The watch
/// tells it earlier.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How often a replica compares what it has with everything that is stored, in case the
/// watch has lost something.
const COMPARE: Duration = Duration::from_secs(600);

/// How much longer than others a replica waits before it stands for election, if it has
/// no zone file for a zone that is stored.
const DEFERENCE: Duration = Duration::from_secs(3);

/// How long a replica that was elected may take to receive the commits of the writer
/// before.
const CATCH_UP: Duration = Duration::from_secs(2);

impl Shared {
    /// Follows from a revision on, until this replica is elected and has received
    /// everything that was stored before.
    pub(super) async fn follow(
        &self,
        revision: i64,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Leadership, End> {
        let member = &self.member;
        let mut watch = member.watch_after(revision);
        let mut campaign_at = Instant::now();
        let mut led_at = Instant::now();
        let mut compare_at = Instant::now() + COMPARE;
        loop {
            tokio::select! {
                seen = watch.next() => {
                    if self.take(seen, &mut watch).await? {
                        campaign_at = Instant::now();
                    }
                }
                () = sleep_until(campaign_at) => {
                    let is_led = self.writer.borrow().is_some();
                    if is_led {
                        led_at = Instant::now();
                    }
                    // A writer without a zone of the others serves that zone badly.
                    let may_stand = !self.registry.lacks_zones() || led_at.elapsed() > DEFERENCE;
                    if may_stand && let Some(leadership) = self.campaign(&mut watch).await? {
                        return Ok(leadership);
                    }
                    campaign_at = Instant::now() + if is_led { LOOK_AGAIN } else { LOOK };
                }
                () = sleep_until(compare_at) => {
                    // A failure means that etcd cannot be reached.
                    if let Ok(listing) = member.read().await {
                        self.notify(Event::Read(listing.stored)).await?;
                    }
                    compare_at = Instant::now() + COMPARE;
                }
                () = stopped(stop) => return Err(End::Stopped),
            }
        }
    }

    /// Takes what the watch has seen. Returns whether there is no writer any more.
    async fn take<'s>(
        &'s self,
        seen: Result<Seen, WatchEnd>,
        watch: &mut Watch<'s>,
    ) -> Result<bool, End> {
        match seen {
            Ok(Seen::Stored(stored)) => {
                self.member.see(stored.commit);
                self.notify(Event::Stored(stored)).await?;
            }
            Ok(Seen::Leader(leader)) => {
                let leader = leader.as_ref().map(Replica::of);
                let is_gone = leader.is_none();
                self.note_writer(leader);
                return Ok(is_gone);
            }
            Ok(Seen::Other(value)) => {
                if let Some(shared) = &self.cookies {
                    shared.take(&value);
                }
            }
            Err(WatchEnd::Emptied) => {
                // Nothing of this is published. What is there now is refused if it is less.
                match self.member.last_commit().await {
                    Ok(_) => self.read_anew(watch).await?,
                    Err(StoreError::Unreachable { .. }) => tokio::time::sleep(LOOK).await,
                    Err(error) => return Err(End::Failed(error)),
                }
            }
            Err(WatchEnd::Compacted) => {
                warn!(
                    "{}: what follows the last known commit was compacted away: everything is read \
                     anew",
                    self.member.name()
                );
                self.read_anew(watch).await?;
            }
            Err(WatchEnd::Failed(error)) => return Err(End::Failed(error)),
        }
        Ok(false)
    }

    /// Publishes everything that is stored, and watches what follows.
    async fn read_anew<'s>(&'s self, watch: &mut Watch<'s>) -> Result<(), End> {
        match self.member.read().await {
            Ok(listing) => {
                self.notify(Event::Read(listing.stored)).await?;
                *watch = self.member.watch_after(listing.revision);
                if let Some(shared) = &self.cookies {
                    // Otherwise the next rotation brings them.
                    let _ = shared.read(&self.member).await;
                }
            }
            // The watch says the same once more.
            Err(StoreError::Unreachable { .. }) => tokio::time::sleep(LOOK).await,
            Err(error) => return Err(End::Failed(error)),
        }
        Ok(())
    }

    /// Tries to be elected. Returns the leadership when everything that was stored before
    /// has been received.
    async fn campaign<'s>(&'s self, watch: &mut Watch<'s>) -> Result<Option<Leadership>, End> {
        // An etcd that lacks what was seen has nothing to follow.
        match self.member.last_commit().await {
            Ok(_) => {}
            Err(StoreError::Unreachable { .. }) => return Ok(None),
            Err(error) => return Err(End::Failed(error)),
        }
        let campaign = self.member.campaign(&self.replica).await;
        let leadership = match campaign.map_err(End::Failed)? {
            Campaign::Won(leadership) => leadership,
            Campaign::Lost(leader) => {
                if leader.is_some() {
                    self.note_writer(leader);
                }
                return Ok(None);
            }
        };
        let caught_up = self.catch_up(&leadership, watch).await;
        if !matches!(caught_up, Ok(true)) {
            self.member.resign(&leadership).await;
        }
        if caught_up? {
            info!(
                "{} has elected this replica as the writer",
                self.member.name()
            );
            self.writer.send_replace(None);
            return Ok(Some(leadership));
        }
        Ok(None)
    }

    /// Receives all that was stored before this replica was elected. Returns whether it
    /// came in time.
    async fn catch_up<'s>(
        &'s self,
        leadership: &Leadership,
        watch: &mut Watch<'s>,
    ) -> Result<bool, End> {
        let limit = Instant::now() + CATCH_UP;
        let last = match self.member.settle(leadership).await {
            Ok(()) => self.member.last_commit().await,
            Err(error) => Err(error),
        };
        let last = match last {
            Ok(last) => last,
            Err(
                StoreError::Unreachable { .. }
                | StoreError::Write { .. }
                | StoreError::LeadershipLost { .. },
            ) => return Ok(false),
            Err(error) => return Err(End::Failed(error)),
        };
        while self.member.seen() < last {
            match timeout_at(limit, watch.next()).await {
                Ok(seen) => drop(self.take(seen, watch).await?),
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    fn note_writer(&self, leader: Option<Replica>) {
        let address = leader.as_ref().and_then(|leader| leader.channel);
        let is_new = self.writer.send_if_modified(|known| {
            let is_new = *known != address;
            *known = address;
            is_new
        });
        if let Some(leader) = leader.filter(|_| is_new) {
            info!("the writer of {} is {leader}", self.member.name());
        }
    }

    pub(super) async fn notify(&self, event: Event) -> Result<(), End> {
        if self.registry.notify(event).await {
            Ok(())
        } else {
            Err(End::Stopped)
        }
    }
}
