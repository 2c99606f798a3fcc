//! What freqtrade echoes of its config, which is read and never changed.

use botops_contract::EchoedConfig;

use crate::polling::UpstreamPicture;

/// Why no config of freqtrade is changed.
pub(crate) const NOT_MANAGED: &str = "freqtrade's config is not managed: its files belong to its operator, and freqtrade \
                                      takes a new config without a check and ends when it is wrong. Change the file, \
                                      then reload or restart freqtrade";

/// What the echo shows.
const PROOF: &str =
    "echoed by freqtrade's show_config, so it is in force; a part of its config, the rest is not told";

/// The echo; `None` until it was read.
pub(super) fn echoed_config_of(picture: &UpstreamPicture) -> Option<EchoedConfig> {
    let values = picture.config_as_told.value()?.clone();
    let as_of = picture.config_as_told.at();
    Some(EchoedConfig { reason: NOT_MANAGED.to_owned(), proof: PROOF.to_owned(), as_of, values })
}
