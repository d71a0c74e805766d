// Real clients (FreeTDS's tsql, pymssql) through the gateway to tests/support/tds_server.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/subprocess.h"
#include "gateway/relay.h"
#include "gateway/tds.h"
#include "support/tds_server.h"
#include "support/temp_dir.h"
#include "unit/gateway/sockets.h"

namespace carrel::gateway {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing_support::TdsServer;
using testing_support::TempDir;
using testing_support::WriteFile;

constexpr const char* kPassword = "real pass w\xc3\xb6rd";

class TdsClients : public ::testing::Test {
 protected:
  void Begin(TlsMode tls = TlsMode::kDisable, std::vector<std::string> server_options = {},
             const std::string& ca_file = "", const std::string& host = "127.0.0.1") {
    server_ = std::make_unique<TdsServer>("real_user", kPassword, dir_ / "server.log",
                                          std::move(server_options));
    upstream_.kind = "mssql";
    upstream_.host = host;
    upstream_.address = "127.0.0.1";
    upstream_.port = server_->Port();
    ASSERT_NE(upstream_.port, 0);
    upstream_.database = "records";
    upstream_.user = "real_user";
    upstream_.password = *Secret::Of(kPassword);
    upstream_.tls = tls;
    upstream_.ca_file = ca_file;
    login_ = *MakeJobLogin();
    records_ = *RecordQueue::Make();
    auto factory = MakeTds(upstream_, login_);
    ASSERT_TRUE(factory.has_value()) << factory.error().ToString();
    factory_ = std::move(*factory);
    UniqueFd listener = *ListenHere(0);
    port_ = PortOf(listener.get());
    relay_ =
        *Relay::Start(std::move(listener), {.address = upstream_.address, .port = upstream_.port},
                      *factory_, *records_);
  }
  void MakeCertificate(const std::string& name) {
    const std::string made = "subjectAltName=" + name;
    ASSERT_TRUE(RunChecked({"openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout",
                            dir_ / "key.pem", "-out", dir_ / "cert.pem", "-days", "2", "-subj",
                            "/CN=test", "-addext", made})
                    .has_value());
  }
  // Statements, one a line, through tsql; what it printed.
  std::string Tsql(const std::string& statements, const std::string& version = "7.4",
                   const std::string& password = "", const std::string& settings = "") {
    WriteFile(dir_ / "freetds.conf",
              "[gateway]\n host = 127.0.0.1\n port = " + std::to_string(port_) +
                  "\n tds version = " + version + "\n client charset = UTF-8\n" + settings);
    SubprocessOptions options;
    options.environment = {{"FREETDSCONF", dir_ / "freetds.conf"}, {"LC_ALL", "C.UTF-8"}};
    for (const char* statement = statements.c_str(); *statement != '\0';) {
      const char* end = strchrnul(statement, '\n');
      options.input += std::string(statement, end) + "\ngo\n";
      statement = *end == '\0' ? end : end + 1;
    }
    options.input += "exit\n";
    options.timeout = std::chrono::seconds(60);
    auto run = RunSubprocess({"tsql", "-S", "gateway", "-U", login_.user, "-P",
                              password.empty() ? login_.password : password, "-D", "records"},
                             options);
    EXPECT_TRUE(run.has_value()) << (run ? "" : run.error().ToString());
    return run ? run->output + run->errors : "";
  }
  std::string Python(const std::string& code, const std::string& settings = "") {
    WriteFile(dir_ / "freetds.conf", "[global]\n" + settings);
    SubprocessOptions options;
    options.environment = {{"FREETDSCONF", dir_ / "freetds.conf"},
                           {"PORT", std::to_string(port_)},
                           {"USER", login_.user},
                           {"PASSWORD", login_.password},
                           {"TDSVER", "7.4"}};
    options.input =
        "import os, pymssql\n"
        "c = pymssql.connect(server='127.0.0.1', port=os.environ['PORT'], database='records',\n"
        "                    user=os.environ['USER'], password=os.environ['PASSWORD'])\n"
        "k = c.cursor()\n" +
        code;
    options.timeout = std::chrono::seconds(60);
    auto run = RunSubprocess({"python3", "-"}, options);
    EXPECT_TRUE(run.has_value());
    return run ? run->output + run->errors : "";
  }
  // Ends the gateway; one line of JSON a record.
  std::string Records() {
    relay_->Stop();
    relay_.reset();
    std::string lines;
    EXPECT_TRUE(records_
                    ->Drain([&](const std::string& kind, const Json& members) -> Result<void> {
                      lines += kind + " " + members.dump() + "\n";
                      if (kind == "statement") statements_.push_back(members);
                      return {};
                    })
                    .has_value());
    EXPECT_THAT(lines, Not(HasSubstr("real_user")));
    EXPECT_THAT(lines, Not(HasSubstr("real pass")));
    return lines;
  }

  TempDir dir_;
  Upstream upstream_;
  JobLogin login_;
  std::unique_ptr<TdsServer> server_;
  std::unique_ptr<RecordQueue> records_;
  std::unique_ptr<ProtocolFactory> factory_;
  std::unique_ptr<Relay> relay_;
  uint16_t port_ = 0;
  std::vector<Json> statements_;
};

TEST_F(TdsClients, Tsql) {
  for (const std::string version : {"7.4", "7.2"}) {
    Begin();
    const std::string output = Tsql("rows 3\nwide 100000\nerror 4711", version);
    EXPECT_THAT(output, HasSubstr("row 1")) << server_->Log();
    EXPECT_THAT(output, HasSubstr("an error of the test"));
    EXPECT_THAT(output, HasSubstr(std::string(100'000, 'x')));
    EXPECT_THAT(server_->Log(), HasSubstr("\"user\": \"real_user\""));
    EXPECT_THAT(server_->Log(), HasSubstr("\"host\": \"carrel\""));
    EXPECT_THAT(server_->Log(), Not(HasSubstr(login_.user)));
    Records();
    std::map<std::string, Json> by_text;
    for (const Json& statement : statements_) {
      std::string text = statement["text"];
      while (!text.empty() && text.back() == '\n') text.pop_back();
      by_text[text] = statement;
    }
    ASSERT_TRUE(by_text.contains("rows 3"));
    EXPECT_EQ(by_text["rows 3"]["rows"], 3);
    EXPECT_EQ(by_text["wide 100000"]["rows"], 1);
    EXPECT_GT(by_text["wide 100000"]["bytes_out"], 200'000);
    EXPECT_EQ(by_text["error 4711"]["error"], "4711");
    statements_.clear();
  }
}

TEST_F(TdsClients, Pymssql) {
  Begin();
  const std::string output = Python(
      "k.execute('rows 5000')\n"
      "print(len(k.fetchall()))\n"
      "k.execute('rows %d', (7,))\n"
      "print(k.fetchall()[1])\n"
      "k.callproc('some_procedure', ('secret value', 42))\n"
      "print('called')\n");
  EXPECT_THAT(output, HasSubstr("5000\n")) << server_->Log();
  EXPECT_THAT(output, HasSubstr("(1, 'row 1')"));
  EXPECT_THAT(output, HasSubstr("called"));
  const std::string lines = Records();
  EXPECT_THAT(lines, HasSubstr("\"rows\":5000"));
  EXPECT_THAT(lines, HasSubstr("\"name\":\"some_procedure\""));
  EXPECT_THAT(lines, Not(HasSubstr("secret value")));
}

TEST_F(TdsClients, WrongPasswordsReachNoServer) {
  Begin();
  EXPECT_THAT(Tsql("rows 1", "7.4", "guess"), HasSubstr("Login failed"));
  EXPECT_THAT(server_->Log(), Not(HasSubstr("\"login\"")));
  EXPECT_THAT(Records(), HasSubstr("wrong credentials"));
}

// FreeTDS tells its user that the connection failed, and no more; the log says why, and what to
// set.
TEST_F(TdsClients, AClientThatDemandsTlsIsToldOfTheSetting) {
  const std::string demand = " encryption = require\n";
  Begin();
  EXPECT_THAT(Tsql("rows 1", "7.4", "", demand), HasSubstr("Error 20002"));
  EXPECT_THAT(Python("", demand), HasSubstr("DB-Lib error message 20002"));
  const std::string records = Records();
  const std::string why = "encryption = off (FreeTDS)";
  ASSERT_THAT(records, HasSubstr(why));
  EXPECT_NE(records.find(why), records.rfind(why)) << "of both";
  EXPECT_THAT(server_->Log(), Not(HasSubstr("prelogin")));
  for (const char* without : {"request", "off"}) {
    Begin();
    EXPECT_THAT(Tsql("rows 1", "7.4", "", std::string(" encryption = ") + without + "\n"),
                HasSubstr("row 0"));
    Records();
  }
}

TEST_F(TdsClients, TlsToTheServer) {
  MakeCertificate("IP:127.0.0.1");
  Begin(TlsMode::kVerifyFull, {"--tls", dir_ / "cert.pem", dir_ / "key.pem"}, dir_ / "cert.pem");
  const std::string output = Tsql("rows 2000\nwide 50000");
  EXPECT_THAT(output, HasSubstr("row 1999")) << server_->Log();
  EXPECT_THAT(output, HasSubstr(std::string(50'000, 'x')));
  EXPECT_THAT(server_->Log(), HasSubstr("\"tls\": true"));
  Records();
}

TEST_F(TdsClients, AServerThatIsAnotherIsNotGivenThePassword) {
  MakeCertificate("DNS:other.example");
  Begin(TlsMode::kVerifyFull, {"--tls", dir_ / "cert.pem", dir_ / "key.pem"}, dir_ / "cert.pem");
  (void)Tsql("rows 1");
  EXPECT_THAT(server_->Log(), Not(HasSubstr("\"login\"")));
  EXPECT_THAT(Records(), HasSubstr("mismatch"));
}

TEST_F(TdsClients, AServerWithoutTlsIsNotGivenThePassword) {
  Begin(TlsMode::kRequire);
  (void)Tsql("rows 1");
  EXPECT_THAT(server_->Log(), Not(HasSubstr("\"login\"")));
  EXPECT_THAT(Records(), HasSubstr("has no TLS"));
}

TEST_F(TdsClients, WhatRunsIsCancelledWithTheAction) {
  MakeCertificate("IP:127.0.0.1");
  for (const bool tls : {false, true}) {
    if (tls)
      Begin(TlsMode::kVerifyFull, {"--tls", dir_ / "cert.pem", dir_ / "key.pem"},
            dir_ / "cert.pem");
    else
      Begin();
    std::thread client([this] { (void)Tsql("sleep"); });
    for (int i = 0; i < 1000 && server_->Log().find("sleeps") == std::string::npos; ++i)
      ::usleep(10'000);
    const std::string records = Records();
    client.join();
    EXPECT_THAT(records, HasSubstr("answered by the database"));
    EXPECT_THAT(server_->Log(), HasSubstr("\"attention\": true"));
  }
}

TEST_F(TdsClients, AnotherDatabaseEndsTheSession) {
  Begin();
  (void)Tsql("rows 1\nenter records\nenter master\nrows 2");
  EXPECT_THAT(server_->Log(), Not(HasSubstr("rows 2")));
  EXPECT_THAT(Records(), HasSubstr("another database than the granted one"));
}

}  // namespace
}  // namespace carrel::gateway
