// A gateway without a sandbox, for the benchmark and for tests of the protocol: prints the job's
// DATABASE_URL and relays until its standard input ends. Each record goes to the log file as a line
// of JSON.
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>

#include "gateway/credentials.h"
#include "gateway/gateway.h"

namespace carrel::gateway {
namespace {

int Fail(const Error& error) {
  std::fprintf(stderr, "%s\n", error.ToString().c_str());
  return 1;
}

// The port on which it listens here instead of the one inside.
std::string WithPort(std::string url, uint16_t port) {
  const std::string host = "127.0.0.1:";
  const size_t at = url.find(host) + host.size();
  return url.replace(at, url.find('/', at) - at, std::to_string(port));
}

int Serve(Upstream upstream, const std::string& log_path) {
  std::ofstream log(log_path);
  const AppendRecord append = [&](const std::string& kind, const Json& members) -> Result<void> {
    Json line = members;
    line["kind"] = kind;
    log << line.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
    return {};
  };
  auto gateway = Gateway::Prepare(std::move(upstream));
  if (!gateway) return Fail(gateway.error());
  auto port = (*gateway)->OpenHere();
  if (!port) return Fail(port.error());
  std::printf("%s\n", WithPort((*gateway)->environment().at("DATABASE_URL"), *port).c_str());
  std::fflush(stdout);
  for (;;) {
    pollfd watched[] = {{0, POLLIN, 0}, {(*gateway)->poll_fd(), POLLIN, 0}};
    (void)::poll(watched, 2, 100);
    if (auto served = (*gateway)->Service(append); !served) return Fail(served.error());
    char byte = 0;
    if (watched[0].revents != 0 && ::read(0, &byte, 1) <= 0) break;
  }
  auto closed = (*gateway)->Close(append);
  return closed ? 0 : Fail(closed.error());
}

}  // namespace
}  // namespace carrel::gateway

int main(int argc, char** argv) {
  using namespace carrel::gateway;
  Upstream upstream;
  upstream.name = "default";
  std::string credentials, log_path = "/dev/null";
  CLI::App app("A gateway without a sandbox");
  app.add_option("--kind", upstream.kind)->required();
  app.add_option("--host", upstream.host)->required();
  app.add_option("--port", upstream.port)->required();
  app.add_option("--database", upstream.database);
  app.add_option("--credentials", credentials)->required();
  app.add_option("--ca", upstream.ca_file);
  app.add_option("--tls", upstream.tls)
      ->transform(
          CLI::Transformer(std::map<std::string, TlsMode>{{"off", TlsMode::kDisable},
                                                          {"verify-ca", TlsMode::kVerifyCa},
                                                          {"verify-full", TlsMode::kVerifyFull}}));
  app.add_option("--client-login", upstream.client_login)
      ->transform(CLI::Transformer(
          std::map<std::string, ClientLogin>{{"scram", ClientLogin::kScramSha256},
                                             {"md5", ClientLogin::kMd5},
                                             {"cleartext", ClientLogin::kCleartext}}));
  app.add_option("--connections", upstream.max_connections);
  app.add_option("--idle", upstream.idle_seconds);
  app.add_flag("--cleartext-upstream", upstream.cleartext_password_without_tls);
  app.add_option("--log", log_path);
  CLI11_PARSE(app, argc, argv);
  auto loaded = LoadCredentials(credentials, "", "");
  if (!loaded) return Fail(loaded.error());
  upstream.user = loaded->user;
  upstream.password = std::move(loaded->password);
  return Serve(std::move(upstream), log_path);
}
