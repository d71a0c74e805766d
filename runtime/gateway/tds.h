// Microsoft SQL Server through the gateway (MS-TDS 7.1 to 7.4): the client logs in with the job's
// credentials, the gateway with the real ones, and then statements are logged as they pass.
//
//   client                    gateway                              server
//     | PRELOGIN --------------> "encryption not supported" (plain: its own loopback)
//     | LOGIN7: user, password > checked
//     |                          | connect, PRELOGIN: encryption on ----> |
//     |                          | <-- TLS handshake in PRELOGIN packets > |
//     |                          | LOGIN7 written anew, in TLS ---------> |
//     | <-------- LOGINACK ----- | <----------------- LOGINACK --------- |
//     | <------------ packets as they are, read for the log ------------> |
//
// A connection holds one session (no MARS), stays in the granted database, and follows no routing
// to another server.
#pragma once

#include <memory>

#include "gateway/protocol.h"

namespace carrel::gateway {

/// kBadInput when the certificates of `upstream` cannot be read. `upstream` must live longer.
Result<std::unique_ptr<ProtocolFactory>> MakeTds(const Upstream& upstream, const JobLogin& login);

}  // namespace carrel::gateway
