//! `paramd release`: frees the ID of a host that will not return.

use anyhow::{Context as _, anyhow};

use crate::{
    cli::Release,
    store::{Store, StoreError, Write},
};

use super::{origin, stored};

pub fn run(options: &Release) -> anyhow::Result<()> {
    let origin = origin::parse(&options.zone)?.to_ascii();
    let mut store = stored(&options.data.data).map_err(|error| match error.downcast() {
        Ok(StoreError::Locked { path }) => anyhow!(
            "a server runs on {}: stop it, release the host, and start it again",
            path.display()
        ),
        Ok(error) => error.into(),
        Err(error) => error,
    })?;
    let wanted = options.host.to_ascii_lowercase();
    let registrations = store.load(&origin)?.registrations;
    let found = registrations.into_iter().find(|registration| {
        let id = format!("{}{}", registration.sequence, registration.number);
        registration.host == wanted || id == wanted
    });
    let registration = found
        .with_context(|| format!("{wanted} is not registered in {origin}: see `paramd peers`"))?;
    store.commit(&[Write::Delete {
        origin,
        host: registration.host.clone(),
    }])?;
    println!(
        "released {}{}, which {} held",
        registration.sequence, registration.number, registration.host
    );
    Ok(())
}
