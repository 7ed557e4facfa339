//! The server's name and version in class CH (RFC 4892).

use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, Name, RData, Record, RecordType, rdata::TXT},
};

use crate::{server::config::Identity, zone::Answer};

/// Answers a question in class CH; `None` if the query is refused.
pub fn answer(identity: &Identity, owner: &Name, rtype: RecordType) -> Option<Answer> {
    let name = owner.to_ascii().to_ascii_lowercase();
    let text = match name.as_str() {
        "id.server." | "hostname.bind." => identity.name.clone()?,
        "version.server." | "version.bind." if identity.version => {
            concat!("paramd ", env!("CARGO_PKG_VERSION")).to_owned()
        }
        _ => return None,
    };
    let mut answer = Answer::empty(ResponseCode::NoError);
    if matches!(rtype, RecordType::TXT | RecordType::ANY) {
        let data = RData::TXT(TXT::new(vec![text]));
        let mut record = Record::from_rdata(owner.clone(), 0, data);
        record.dns_class = DNSClass::CH;
        answer.answers.push(record);
    }
    Some(answer)
}
