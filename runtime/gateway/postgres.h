// PostgreSQL through the gateway: the client logs in with the job's credentials, the gateway with
// the real ones, and then statements are logged as they pass.
//
//   client                    gateway                              server
//     | SSLRequest? -----------> N (plain: its own loopback)
//     | startup: user, database > checked
//     | <------ SCRAM (or md5, cleartext) ------> with the job's password
//     |                          | connect, SSLRequest, TLS, startup ---> |
//     |                          | <----- SCRAM, md5 or cleartext ------> | with the real one
//     | <- AuthenticationOk, parameters, key of the gateway's own <------ |
//     | <------------ bytes as they are, read for the log --------------> |
//     | CancelRequest ---------> the gateway's key to the server's -----> |
#pragma once

#include <memory>

#include "gateway/protocol.h"

namespace carrel::gateway {

/// kBadInput when the certificates of `upstream` cannot be read. `upstream` must live longer.
Result<std::unique_ptr<ProtocolFactory>> MakePostgres(const Upstream& upstream,
                                                      const JobLogin& login);

}  // namespace carrel::gateway
