// The gateway of one job: the only way out of the sandbox, to the one database that the policy
// grants.
//
//   carrel (host)                                   the job's network namespace
//     Prepare: credentials, address, job's login
//     clone3 ------------------------------------->  loopback up
//     Open(pidfd): a socket is made inside ------->  127.0.0.1:port listens
//     its descriptor stays outside                   the action is executed, with environment()
//     Service every 100 ms: statements to the log
//     Close: when the action has ended
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/redactor.h"
#include "base/result.h"
#include "gateway/record.h"
#include "gateway/relay.h"
#include "gateway/upstream.h"

namespace carrel::gateway {

class PeerFinder;

class Gateway {
 public:
  /// Makes what the job needs before its start. `upstream.address` is resolved when it's empty.
  static Result<std::unique_ptr<Gateway>> Prepare(Upstream upstream);
  ~Gateway();

  /// Variables for the action's environment: DATABASE_URL with the job's own login. Known before
  /// Open.
  const std::map<std::string, std::string>& environment() const { return environment_; }

  /// Knows the real credentials where they are inside; else null.
  std::shared_ptr<const Redactor> redactor() const;

  /// Listens in the network namespace of the process `pidfd`, whose loopback must be up, and
  /// relays from now on. `processes`: the cgroup.procs of the job, for connections' records.
  Result<void> Open(int pidfd, const std::string& processes);
  /// The same in this process's own network namespace, on any port (tests). Returns the port.
  Result<uint16_t> OpenHere();

  /// Readable when Service has much to do; call it ten times a second besides.
  int poll_fd() const;
  /// Hands what was logged to `append`. An error is fatal to the job.
  Result<void> Service(const AppendRecord& append);
  /// Ends all connections, hands over the rest of the log and then the totals. Once is enough.
  Result<void> Close(const AppendRecord& append);

  /// Statements so far: for the public record.
  uint64_t statements() const;

 private:
  Gateway() = default;
  Result<void> Relaying(UniqueFd listener, std::shared_ptr<PeerFinder> peers);

  Upstream upstream_;
  JobLogin login_;
  std::map<std::string, std::string> environment_;
  std::unique_ptr<RecordQueue> records_;
  std::unique_ptr<ProtocolFactory> factory_;
  std::unique_ptr<Relay> relay_;
};

/// The protocol of a kind of database; kBadInput for an unknown kind.
Result<std::unique_ptr<ProtocolFactory>> MakeProtocol(const Upstream& upstream,
                                                      const JobLogin& login);

/// The port on which the action finds a kind of database.
uint16_t PortInside(const std::string& kind);

}  // namespace carrel::gateway
