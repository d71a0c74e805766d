// A real PostgreSQL of the test's own, on a loopback port, run by an ordinary user; and a gateway
// to it without a sandbox.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <string>
#include <vector>

#include "support/carrel.h"

namespace carrel::testing_support {

inline constexpr char kPostgresBin[] = "/usr/lib/postgresql/15/bin/";
inline constexpr char kRealPassword[] = "The-Real-Pa55word";

/// A TCP port that nobody listens on now.
inline uint16_t FreePort() {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

/// What a host program gave back; 60 seconds at most.
inline SubprocessResult RunTool(const std::vector<std::string>& argv, const std::string& input = "",
                                std::map<std::string, std::string> environment = {}) {
  SubprocessOptions options;
  options.input = input;
  options.environment = std::move(environment);
  options.environment["PATH"] = std::string(kPostgresBin) + ":/usr/bin:/bin";
  options.timeout = std::chrono::seconds(60);
  auto result = RunSubprocess(argv, options);
  EXPECT_TRUE(result.has_value()) << argv[0] << (result ? "" : result.error().ToString());
  return result.value_or(SubprocessResult{-1, "", ""});
}

class Postgres {
 public:
  /// The role `reader` (password kRealPassword) owns the database `records`.
  Postgres() {
    EXPECT_EQ(::chown(dir_.path().c_str(), kUser, kUser), 0);
    WriteFile(dir_ / "admin", "admin");
    Check({"initdb", "-D", data(), "--no-sync", "--auth=scram-sha-256", "-U", "admin", "--pwfile",
           dir_ / "admin", "-E", "UTF8", "--locale=C"});
    AddLines("postgresql.conf",
             "listen_addresses='127.0.0.1'\nunix_socket_directories=''\nfsync=off\n"
             "shared_buffers=16MB\nmax_connections=60\nautovacuum=off\nport=" +
                 std::to_string(port_) + "\n");
    Start();
    Admin("create role reader login password '" + std::string(kRealPassword) + "'");
    Admin("create database records owner reader");
  }
  ~Postgres() { Stop(); }

  uint16_t port() const { return port_; }
  std::string data() const { return dir_ / "data"; }
  std::string operator/(const std::string& name) const { return dir_ / name; }

  void Start() { Check({"pg_ctl", "-D", data(), "-w", "-s", "-l", dir_ / "server.log", "start"}); }
  void Stop() { (void)Tool({"pg_ctl", "-D", data(), "-w", "-s", "-m", "immediate", "stop"}); }
  void Restart() {
    Stop();
    Start();
  }
  void AddLines(const std::string& name, const std::string& lines) {
    WriteFile(data() + "/" + name, ReadFile(data() + "/" + name).value_or("") + lines, 0600);
  }
  /// Replaces the rules of who may log in how; takes effect at the next start.
  void SetLogin(const std::string& method) {
    WriteFile(
        data() + "/pg_hba.conf",
        "host all admin 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 " + method + "\n",
        0600);
  }

  /// `name`.crt, signed by itself, and `name`.key.
  void MakeCertificate(const std::string& name, const std::string& alternative_name) {
    const std::string key = dir_ / (name + ".key");
    auto made = RunTool({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                         "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out",
                         dir_ / (name + ".crt"), "-days", "2", "-subj", "/CN=test", "-addext",
                         "subjectAltName=" + alternative_name});
    EXPECT_EQ(made.exit_code, 0) << made.errors;
    EXPECT_EQ(::chown(key.c_str(), kUser, kUser), 0);
  }
  /// Restarts the server, with TLS.
  void UseCertificate(const std::string& name) {
    AddLines("postgresql.conf", "ssl=on\nssl_cert_file='" + (dir_ / (name + ".crt")) +
                                    "'\nssl_key_file='" + (dir_ / (name + ".key")) + "'\n");
    Restart();
  }

  /// As superuser, past any gateway.
  std::string Admin(const std::string& sql, const std::string& database = "postgres") {
    auto result = RunTool({"psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p",
                           std::to_string(port_), "-U", "admin", "-d", database, "-c", sql},
                          "", {{"PGPASSWORD", "admin"}});
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return result.output;
  }

  /// Waits, 20 seconds at most, until so many sessions of `reader` are in this state.
  bool Comes(size_t sessions, const std::string& state) {
    const std::string sql =
        "select count(*) from pg_stat_activity where usename = 'reader' and state like '" + state +
        "'";
    for (int i = 0; i < 200; ++i, ::usleep(100'000))
      if (Admin(sql) == std::to_string(sessions) + "\n") return true;
    return false;
  }

  /// Without a gateway, for comparison.
  std::string DirectUrl() const {
    return "postgresql://reader:" + std::string(kRealPassword) +
           "@127.0.0.1:" + std::to_string(port_) + "/records";
  }
  /// For `credentials` of a configuration.
  std::string CredentialsFile(const std::string& text = "reader:" + std::string(kRealPassword)) {
    const std::string path = dir_ / ("credentials" + std::to_string(++files_));
    WriteFile(path, text + "\n", 0400);
    return path;
  }

 private:
  static constexpr uid_t kUser = 65534;

  SubprocessResult Tool(std::vector<std::string> argv) {
    argv[0] = kPostgresBin + argv[0];
    const std::string user = std::to_string(kUser);
    argv.insert(argv.begin(), {"setpriv", "--reuid", user, "--regid", user, "--clear-groups"});
    return RunTool(argv);
  }
  void Check(const std::vector<std::string>& argv) {
    auto result = Tool(argv);
    ASSERT_EQ(result.exit_code, 0) << result.errors << ReadFile(dir_ / "server.log").value_or("");
  }

  TempDir dir_;
  uint16_t port_ = FreePort();
  int files_ = 0;
};

/// tests/bench/gateway_here: relays as long as the object lives.
class GatewayHere {
 public:
  GatewayHere(const std::vector<std::string>& options, const std::string& log) : log_(log) {
    int input[2], output[2];
    EXPECT_EQ(::pipe2(input, O_CLOEXEC) | ::pipe2(output, O_CLOEXEC), 0);
    std::vector<std::string> words = {CARREL_BUILD_DIR "/tests/gateway_here", "--log", log};
    words.insert(words.end(), options.begin(), options.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(input[0], 0);
      ::dup2(output[1], 1);
      ::execv(argv[0], argv.data());
      ::_exit(125);
    }
    ::close(input[0]);
    ::close(output[1]);
    input_.reset(input[1]);
    const UniqueFd answer(output[0]);
    char byte = 0;
    while (::read(answer.get(), &byte, 1) == 1 && byte != '\n') url_ += byte;
  }
  ~GatewayHere() { (void)Log(); }
  GatewayHere(const GatewayHere&) = delete;
  GatewayHere& operator=(const GatewayHere&) = delete;

  const std::string& url() const { return url_; }
  pid_t pid() const { return pid_; }

  /// Ends it; all records, as lines of JSON.
  std::string Log() {
    input_.reset();
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
    return ReadFile(log_, 256u << 20).value_or("(no log)");
  }
  /// The records of a kind.
  std::vector<Json> Records(const std::string& kind) {
    std::vector<Json> found;
    const std::string all = Log();
    for (size_t at = 0; at < all.size();) {
      const size_t end = all.find('\n', at);
      Json record = Json::parse(all.substr(at, end - at), nullptr, false);
      if (record.is_object() && record.value("kind", "") == kind) found.push_back(record);
      at = end == std::string::npos ? all.size() : end + 1;
    }
    return found;
  }

 private:
  std::string log_, url_;
  pid_t pid_ = -1;
  UniqueFd input_;
};

}  // namespace carrel::testing_support
