#include "gateway/upstream.h"

#include <arpa/inet.h>

#include "base/subprocess.h"

namespace carrel::gateway {
namespace {

bool IsNumeric(const std::string& host) {
  unsigned char address[sizeof(in6_addr)];
  return ::inet_pton(AF_INET, host.c_str(), address) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), address) == 1;
}

}  // namespace

Result<JobLogin> MakeJobLogin() {
  JobLogin login;
  CARREL_ASSIGN(const std::string name, RandomHex(6));
  CARREL_ASSIGN(login.password, RandomHex(24));
  login.user = "job_" + name;
  return login;
}

Result<std::string> ResolveAddress(const std::string& host) {
  if (IsNumeric(host)) return host;
  // A static program loads no resolver plug-ins: the host's own command does.
  if (host.empty() || host[0] == '-') return BadInput("database", "not a host name: " + host);
  SubprocessOptions options;
  options.timeout = std::chrono::seconds(15);
  CARREL_ASSIGN(const SubprocessResult found, RunSubprocess({"getent", "ahosts", host}, options));
  const std::string address = found.output.substr(0, found.output.find_first_of(" \t\n"));
  if (found.exit_code != 0 || !IsNumeric(address))
    return Fault("database", "the address of the database's host " + host + " is not known",
                 "Check the configuration's databases and the host's resolver");
  return address;
}

}  // namespace carrel::gateway
