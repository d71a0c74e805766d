// PostgreSQL 15 through the gateway, with real clients: psql, pg_dump, psycopg2, pgbench.
#include <gmock/gmock.h>

#include <sstream>

#include "support/postgres.h"

namespace carrel::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class GatewayPostgres : public ::testing::Test {
 protected:
  /// A gateway to the server; `credentials` "": the real ones.
  std::unique_ptr<GatewayHere> Gateway(std::vector<std::string> more = {"--tls", "off"},
                                       std::string credentials = "") {
    if (credentials.empty()) credentials = server_.CredentialsFile();
    std::vector<std::string> options = {"--kind",     "postgresql", "--host",
                                        "127.0.0.1",  "--port",     std::to_string(server_.port()),
                                        "--database", "records",    "--credentials",
                                        credentials};
    options.insert(options.end(), more.begin(), more.end());
    return std::make_unique<GatewayHere>(options, server_ / ("log" + std::to_string(++gateways_)));
  }

  static SubprocessResult Psql(const std::string& url, const std::string& input,
                               std::vector<std::string> more = {}) {
    std::vector<std::string> argv = {"psql", "-XqAt", url};
    argv.insert(argv.end(), more.begin(), more.end());
    return RunTool(argv, input);
  }
  /// A script of Python's with psycopg2, which gets the URLs as arguments.
  static SubprocessResult Python(const std::string& script, std::vector<std::string> urls) {
    urls.insert(urls.begin(), {"/usr/bin/python3", "-c", "import psycopg2, sys\n" + script});
    return RunTool(urls);
  }

  Postgres server_;
  int gateways_ = 0;
};

TEST_F(GatewayPostgres, StatementsAreLoggedAndAnswersAreTheServers) {
  auto gateway = Gateway();
  auto result = Psql(gateway->url(),
                     "select current_user, 'value-not-logged' where 1 = 1 -- first\n;\n"
                     "select * from nope;\n"
                     "create table t(a int, b text);\n"
                     "select 1\\; select generate_series(1, 3);\n"
                     "select $1::int + $2::int \\bind 3 4 \\g\n");
  EXPECT_THAT(result.output, HasSubstr("reader|value-not-logged\n1\n1\n2\n3\n"));
  EXPECT_THAT(result.errors, HasSubstr("relation \"nope\" does not exist"));
  auto prepared = Python(
      "c = psycopg2.connect(sys.argv[1])\n"
      "k = c.cursor()\n"
      "k.execute('prepare p(int) as select $1 * 2')\n"
      "k.execute('execute p(21)')\n"
      "print(k.fetchall(), c.encoding, c.get_parameter_status('server_version'))\n"
      "print(c.get_backend_pid() == (k.execute('select pg_backend_pid()'), k.fetchone()[0])[1])\n",
      {gateway->url()});
  EXPECT_THAT(prepared.output, HasSubstr("[(42,)] UTF8 15.")) << prepared.errors;
  EXPECT_THAT(prepared.output, HasSubstr("True"));
  std::vector<Json> statements = gateway->Records("statement");
  ASSERT_GE(statements.size(), 4u);
  EXPECT_EQ(statements[0]["text"],
            "select current_user, 'value-not-logged' where 1 = 1 -- first\n;");
  EXPECT_EQ(statements[0]["rows"], 1);
  EXPECT_EQ(statements[0]["tag"], "SELECT 1");
  EXPECT_GE(statements[0]["duration_us"], 1);
  EXPECT_EQ(statements[1]["error"], "42P01");
  EXPECT_EQ(statements[2]["tag"], "CREATE TABLE");
  EXPECT_EQ(statements[3]["text"], "select 1; select generate_series(1, 3);");
  EXPECT_EQ(statements[3]["rows"], 4);
  EXPECT_THAT(gateway->Log(), AllOf(HasSubstr("prepare p(int)"), Not(HasSubstr(kRealPassword))));
}

TEST_F(GatewayPostgres, LongStatementsAreLoggedWhole) {
  auto gateway = Gateway();
  const std::string hidden = "/* " + std::string(300'000, 'x') + " */ select 'the end'";
  EXPECT_EQ(Psql(gateway->url(), hidden + ";\n").output, "the end\n");
  std::string text;
  for (const Json& part : gateway->Records("statement-text")) text += part["text"];
  const std::vector<Json> statements = gateway->Records("statement");
  ASSERT_EQ(statements.size(), 1u);
  EXPECT_EQ(statements[0]["parts_before"], 4);
  EXPECT_EQ(text + statements[0]["text"].get<std::string>(), hidden + ";");
}

// Newer pg_dumps begin and end with a line that has a random word.
std::string WithoutRestrict(const std::string& dump) {
  std::istringstream in(dump);
  std::string out;
  for (std::string line; std::getline(in, line);)
    if (!line.starts_with("\\restrict") && !line.starts_with("\\unrestrict")) out += line + "\n";
  return out;
}

TEST_F(GatewayPostgres, CopyAndDumpGiveTheSameBytes) {
  auto gateway = Gateway();
  const std::string make =
      "create table big as select g as id, md5(g::text) as hash, g % 7 as k from "
      "generate_series(1, 60000) g; create index on big(k);"
      "select lo_from_bytea(4711, repeat('large object ', 20000)::bytea);";
  ASSERT_EQ(Psql(gateway->url(), make).exit_code, 0);
  const std::string copy = "\\copy big to stdout\n";
  const std::string direct = Psql(server_.DirectUrl(), copy).output;
  EXPECT_GT(direct.size(), 2'000'000u);
  EXPECT_TRUE(Psql(gateway->url(), copy).output == direct);
  // In again: through the gateway, by COPY FROM.
  auto in = Psql(gateway->url(), direct,
                 {"-c", "create table again(like big)", "-c", "copy again from stdin"});
  EXPECT_EQ(in.exit_code, 0) << in.errors;
  EXPECT_TRUE(Psql(server_.DirectUrl(), "\\copy again to stdout\n").output == direct);
  // A dump (with large objects), restored by psql.
  auto dump = RunTool({"pg_dump", "-O", "-x", gateway->url()});
  ASSERT_EQ(dump.exit_code, 0) << dump.errors;
  server_.Admin("drop owned by reader", "records");
  server_.Admin("grant all on schema public to reader", "records");
  ASSERT_EQ(Psql(server_.DirectUrl(), "select count(*) from pg_largeobject_metadata").output,
            "0\n");
  auto restore = Psql(gateway->url(), dump.output, {"-v", "ON_ERROR_STOP=1"});
  EXPECT_EQ(restore.exit_code, 0) << restore.errors;
  EXPECT_TRUE(WithoutRestrict(RunTool({"pg_dump", "-O", "-x", server_.DirectUrl()}).output) ==
              WithoutRestrict(dump.output));
  std::vector<Json> copies;
  for (const Json& statement : gateway->Records("statement"))
    if (statement.value("tag", "") == "COPY 60000") copies.push_back(statement);
  ASSERT_GE(copies.size(), 4u);
  EXPECT_EQ(copies[0]["rows"], 60000);
  EXPECT_EQ(copies[0]["bytes_out"], direct.size());
  EXPECT_EQ(copies[1]["bytes_in"], direct.size());
}

TEST_F(GatewayPostgres, ClientsLogInWithTheJobsCredentialsOnly) {
  for (const char* login : {"scram", "md5", "cleartext"}) {
    SCOPED_TRACE(login);
    auto gateway = Gateway({"--tls", "off", "--client-login", login});
    const std::string& url = gateway->url();
    EXPECT_EQ(Psql(url, "select 1").output, "1\n");
    const std::string place = url.substr(url.find('@'));
    const std::string user = url.substr(13, url.find(':', 13) - 13);
    auto fails = [&](const std::string& other, const std::string& message) {
      auto result = Psql(other, "select 1");
      EXPECT_EQ(result.exit_code, 2) << other;
      EXPECT_THAT(result.errors, HasSubstr(message)) << other;
    };
    fails("postgresql://" + user + ":wrong" + place, "password authentication failed");
    fails("postgresql://reader:" + std::string(kRealPassword) + place,
          "password authentication failed");
    fails("postgresql://postgres:x" + place, "password authentication failed");
    fails(url.substr(0, url.rfind('/')) + "/postgres", "not granted the database");
    fails(url + "?options=-c%20nonsense%3D1", "nonsense");
    EXPECT_THAT(gateway->Log(), AllOf(HasSubstr("the credentials are not this job's"),
                                      HasSubstr("another database was asked for: postgres"),
                                      HasSubstr("\"gateway-login-failed\"")));
  }
  auto one = Gateway(), other = Gateway();
  const std::string crossed =
      one->url().substr(0, one->url().find('@')) + other->url().substr(other->url().find('@'));
  EXPECT_EQ(Psql(crossed, "select 1").exit_code, 2) << "another job's credentials";
  auto replication = Psql(one->url() + "?replication=database", "select 1");
  EXPECT_THAT(replication.errors, HasSubstr("replication is not available"));
}

TEST_F(GatewayPostgres, LogsInUpstreamAsTheServerAsks) {
  auto works = [&](std::vector<std::string> options = {"--tls", "off"}) {
    auto gateway = Gateway(std::move(options));
    auto result = Psql(gateway->url(), "select 1");
    return result.output + result.errors + gateway->Log();
  };
  server_.Admin("set password_encryption='md5'; alter role reader password '" +
                std::string(kRealPassword) + "'");
  server_.SetLogin("md5");
  server_.Restart();
  EXPECT_THAT(works(), ::testing::StartsWith("1\n"));
  server_.SetLogin("password");
  server_.Restart();
  EXPECT_THAT(works(), HasSubstr("wants the password in clear, without TLS"));
  EXPECT_THAT(works({"--tls", "off", "--cleartext-upstream"}), ::testing::StartsWith("1\n"));
  // Wrong real credentials: the client learns neither them nor the user's name.
  auto gateway = Gateway({"--tls", "off", "--cleartext-upstream"},
                         server_.CredentialsFile("reader:Wrong-Pa55"));
  auto result = Psql(gateway->url(), "select 1");
  EXPECT_THAT(result.errors, AllOf(HasSubstr("password authentication failed"),
                                   Not(HasSubstr("reader")), Not(HasSubstr("Wrong-Pa55"))));
  EXPECT_THAT(gateway->Log(), AllOf(HasSubstr("28P01"), Not(HasSubstr("Wrong-Pa55"))));
}

TEST_F(GatewayPostgres, VerifiesTheServersCertificate) {
  auto try_with = [&](std::vector<std::string> options) {
    auto gateway = Gateway(std::move(options));
    auto result = Psql(gateway->url(),
                       "select ssl, version from pg_stat_ssl where pid = "
                       "pg_backend_pid()");
    return result.output + result.errors + gateway->Log();
  };
  EXPECT_THAT(try_with({}), HasSubstr("doesn't offer TLS"));
  server_.MakeCertificate("good", "IP:127.0.0.1");
  server_.MakeCertificate("other", "DNS:elsewhere.example");
  server_.UseCertificate("good");
  const std::string good = server_ / "good.crt", other = server_ / "other.crt";
  // The login is bound to the certificate: the server checks that.
  EXPECT_THAT(try_with({"--ca", good}), AllOf(::testing::StartsWith("t|TLSv1.3\n"),
                                              HasSubstr("\"method\":\"SCRAM-SHA-256-PLUS\"")));
  EXPECT_THAT(try_with({"--ca", other}), HasSubstr("self-signed certificate"));
  EXPECT_THAT(try_with({}), HasSubstr("self-signed certificate")) << "the host's own store";
  // COPY through TLS, both ways.
  auto gateway = Gateway({"--ca", good});
  std::string rows;
  for (int i = 0; i < 50'000; ++i) rows += std::to_string(i) + "\tsome text that fills the row\n";
  auto in = Psql(gateway->url(), rows,
                 {"-c", "create table t(a int, b text)", "-c", "copy t from stdin"});
  EXPECT_EQ(in.exit_code, 0) << in.errors;
  EXPECT_TRUE(Psql(gateway->url(), "copy t to stdout;").output == rows);
  server_.UseCertificate("other");
  EXPECT_THAT(try_with({"--ca", other, "--tls", "verify-ca"}), ::testing::StartsWith("t|TLS"));
  EXPECT_THAT(try_with({"--ca", other}), HasSubstr("mismatch"));
}

// The cancel request comes on a connection of its own, which is one more than there may be.
TEST_F(GatewayPostgres, Psycopg2CopiesCancelsAndListens) {
  auto gateway = Gateway({"--tls", "off", "--connections", "1"});
  auto result = Python(
      "import io, threading, time\n"
      "c = psycopg2.connect(sys.argv[1])\n"
      "k = c.cursor()\n"
      "k.execute('create table t(a int, b text)')\n"
      "k.copy_expert('copy t from stdin', io.StringIO('1\\tone\\n2\\ttwo\\n'))\n"
      "out = io.StringIO(); k.copy_expert('copy t to stdout', out); print(repr(out.getvalue()))\n"
      "c.commit()\n"
      "try: k.copy_expert('copy t from stdin', io.StringIO('bad\\n'))\n"
      "except psycopg2.Error as e: print('copy', e.pgcode); c.rollback()\n"
      "lo = c.lobject(0, 'wb'); lo.write(b'x' * 1000000); oid = lo.oid; lo.close(); c.commit()\n"
      "print(len(c.lobject(oid, 'rb').read()))\n"
      "threading.Timer(0.3, c.cancel).start()\n"
      "try: k.execute('select pg_sleep(30)')\n"
      "except psycopg2.Error as e: print('cancelled', e.pgcode); c.rollback()\n"
      "n = c.cursor('named'); n.itersize = 10\n"
      "n.execute('select generate_series(1, 100)'); print(sum(r[0] for r in n)); n.close()\n"
      "c.commit(); c.autocommit = True\n"
      "k.execute('listen ch'); k.execute(\"notify ch, 'hello'\"); c.poll()\n"
      "print(c.notifies[0].payload)\n",
      {gateway->url()});
  EXPECT_EQ(result.output,
            "'1\\tone\\n2\\ttwo\\n'\ncopy 22P02\n1000000\ncancelled 57014\n5050\nhello\n")
      << result.errors;
  EXPECT_THAT(gateway->Records("gateway-cancel"), ::testing::SizeIs(1));
  std::vector<std::string> seen;
  for (const Json& statement : gateway->Records("statement"))
    seen.push_back(statement.value("how", "") + " " + statement.value("error", ""));
  EXPECT_THAT(seen, AllOf(Contains("query 57014"), Contains("query 22P02"), Contains("function ")));
}

// Keys of cancel requests: those of another job's gateway, and the server's own, do nothing.
TEST_F(GatewayPostgres, CancelReachesTheJobsOwnSessionsOnly) {
  auto mine = Gateway(), others = Gateway();
  const std::string script =
      "import socket, struct, threading, time\n"
      "victim = psycopg2.connect(sys.argv[1])\n"
      "pid = victim.get_backend_pid()\n"
      "port = int(sys.argv[2].rsplit(':', 1)[1].split('/')[0])\n"
      "own = int(sys.argv[1].rsplit(':', 1)[1].split('/')[0])\n"
      "def cancel(port, key):\n"
      "  s = socket.create_connection(('127.0.0.1', port))\n"
      "  s.sendall(struct.pack('!IIII', 16, 80877102, pid, key))\n"
      "  s.settimeout(10); print('end', s.recv(1))\n"
      "def later():\n"
      "  time.sleep(0.2)\n"
      "  for key in (0, 1, 0xffffffff): cancel(own, key)\n"
      "  cancel(port, 1)\n"
      "threading.Thread(target=later).start()\n"
      "k = victim.cursor(); k.execute('select pg_sleep(1)'); print('finished')\n";
  auto result = Python(script, {mine->url(), others->url()});
  EXPECT_THAT(result.output, HasSubstr("finished")) << result.errors;
  EXPECT_THAT(mine->Records("gateway-refused"), ::testing::SizeIs(3));
  EXPECT_THAT(others->Records("gateway-refused"), ::testing::SizeIs(1));
}

// Statements that would run on for ten minutes, and what the server would do after them.
TEST_F(GatewayPostgres, WhatRunsIsCancelledWhenItsConnectionEnds) {
  server_.MakeCertificate("good", "IP:127.0.0.1");
  server_.UseCertificate("good");
  for (const std::vector<std::string>& options :
       {std::vector<std::string>{"--tls", "off"}, {"--ca", server_ / "good.crt"}}) {
    SCOPED_TRACE(options[0]);
    auto gateway = Gateway(options);
    std::thread client([url = gateway->url()] {
      (void)Python(
          "import threading\n"
          "def run(sql):\n"
          "  c = psycopg2.connect(sys.argv[1]); c.autocommit = True\n"
          "  k = c.cursor(); k.execute('set client_connection_check_interval = 0')\n"
          "  try: k.execute(sql)\n"
          "  except psycopg2.Error: pass\n"
          "for sql in ['select pg_sleep(600)'] * 3: "
          "threading.Thread(target=run, args=(sql,)).start()\n",
          {url});
    });
    std::thread piped([url = gateway->url()] {
      (void)Psql(url, "select pg_sleep(600) \\; select pg_sleep(600);\n");
    });
    EXPECT_TRUE(server_.Comes(4, "active"));
    const std::vector<Json> cancels = gateway->Records("gateway-cancel");
    EXPECT_TRUE(server_.Comes(0, "%"));
    client.join();
    piped.join();
    ASSERT_THAT(cancels, ::testing::SizeIs(4));
    EXPECT_EQ(cancels[0]["why"], "the action has ended");
    EXPECT_EQ(cancels[0]["how"], "the cancel request is delivered");
  }
  // While the gateway goes on: a client that breaks the protocol behind a long statement.
  auto gateway = Gateway();
  auto broken = Python(
      "import socket, struct\n"
      "c = psycopg2.connect(sys.argv[1])\n"
      "s = socket.socket(fileno=c.fileno())\n"
      "q = b'select pg_sleep(600)\\0'\n"
      "s.sendall(b'Q' + struct.pack('!I', len(q) + 4) + q)\n"
      "s.sendall(b'!nonsense')\n"
      "while s.recv(4096): pass\n"
      "s.detach()\n",
      {gateway->url()});
  EXPECT_TRUE(server_.Comes(0, "active")) << broken.errors;
  EXPECT_EQ(Psql(gateway->url(), "show client_connection_check_interval").output, "10s\n");
  const std::vector<Json> cancels = gateway->Records("gateway-cancel");
  ASSERT_THAT(cancels, ::testing::SizeIs(1));
  EXPECT_THAT(cancels[0]["why"], HasSubstr("doesn't speak PostgreSQL's protocol"));
}

TEST_F(GatewayPostgres, PipelinesAndParallelClients) {
  auto gateway = Gateway();
  ASSERT_EQ(RunTool({"pgbench", "-i", "-q", "-s", "1", gateway->url()}).exit_code, 0);
  for (const char* mode : {"simple", "extended", "prepared"}) {
    auto result =
        RunTool({"pgbench", "-n", "-M", mode, "-c", "8", "-j", "2", "-t", "20", gateway->url()});
    EXPECT_THAT(result.output, HasSubstr("processed: 160/160")) << mode << result.errors;
  }
  std::string script = "\\startpipeline\n";
  for (int i = 0; i < 50; ++i) script += "select " + std::to_string(i) + " as pipelined;\n";
  script += "\\endpipeline\n";
  WriteFile(server_ / "script", script);
  auto result = RunTool({"pgbench", "-n", "-M", "extended", "-f", server_ / "script", "-t", "20",
                         "-c", "2", gateway->url()});
  EXPECT_THAT(result.output, HasSubstr("processed: 40/40")) << result.errors;
  size_t executed = 0, prepared = 0, unfinished = 0;
  std::set<std::string> texts;
  for (const Json& statement : gateway->Records("statement")) {
    unfinished += statement.contains("unfinished");
    if (statement.value("how", "") == "prepare" &&
        statement["text"].get<std::string>().ends_with(" as pipelined;")) {
      ++prepared;
      texts.insert(statement["text"]);
    }
    executed += statement.value("how", "") == "execute" && statement.value("tag", "") == "SELECT 1";
  }
  EXPECT_EQ(prepared, 2000u);
  EXPECT_EQ(texts.size(), 50u);
  EXPECT_GE(executed, 2000u + 320);  // pgbench's own transactions have one SELECT each
  EXPECT_EQ(unfinished, 0u);
}

TEST_F(GatewayPostgres, ErrorsInPipelinesAreThoseOfTheServer) {
  auto gateway = Gateway();
  const std::string client = CARREL_BUILD_DIR "/tests/pipeline_client";
  const auto direct = RunTool({client, server_.DirectUrl()});
  ASSERT_EQ(direct.exit_code, 0) << direct.errors;
  EXPECT_THAT(direct.output, HasSubstr("ok:1 22012 aborted sync\nok:2 42601 aborted sync\n"));
  const auto through = RunTool({client, gateway->url()});
  EXPECT_EQ(through.output, direct.output) << through.errors;
  std::map<std::string, size_t> seen;
  for (const Json& statement : gateway->Records("statement")) {
    if (statement.value("how", "") != "execute") continue;
    const std::string tag = statement.value("tag", "");
    ++seen[statement.contains("error") ? statement["error"].get<std::string>() : tag];
    ++seen[statement.contains("unfinished") ? "unfinished" : "finished"];
  }
  size_t good = 0, failed = 0, aborted = 0;
  const std::string counts = direct.output.substr(direct.output.find("good "));
  ASSERT_EQ(sscanf(counts.c_str(), "good %zu, failed %zu, aborted %zu", &good, &failed, &aborted),
            3);
  EXPECT_GT(aborted, 100u);
  EXPECT_EQ(seen["SELECT 1"], good + 6);  // 1, 2, 3, 10 / 5, 10 / 5 again, 4
  EXPECT_EQ(seen["22012"], failed + 2);
  size_t not_run = 0;
  for (const auto& [tag, count] : seen) not_run += tag.starts_with("not run") ? count : 0;
  EXPECT_EQ(not_run, aborted + 8);  // those of statements that could not be parsed, too
  EXPECT_EQ(seen["unfinished"], not_run);
}

TEST_F(GatewayPostgres, OverTheLimitClientsAreToldAsByTheServer) {
  auto gateway = Gateway({"--tls", "off", "--connections", "2"});
  auto result = Python(
      "import subprocess\n"
      "a, b = psycopg2.connect(sys.argv[1]), psycopg2.connect(sys.argv[1])\n"
      "print(subprocess.run(['psql', sys.argv[1], '-c', 'select 1'], stderr=subprocess.STDOUT,"
      " stdout=subprocess.PIPE, text=True).stdout)\n"
      "for i in range(3):\n"
      "  try: psycopg2.connect(sys.argv[1])\n"
      "  except psycopg2.OperationalError as e: print(e)\n"
      "k = a.cursor(); k.execute('select 42'); print(k.fetchall())\n"
      "a.close()\n"
      "for i in range(200):\n"
      "  try: psycopg2.connect(sys.argv[1]); print('in again'); break\n"
      "  except psycopg2.OperationalError: pass\n",
      {gateway->url()});
  const std::string told = "FATAL:  too many connections: the job may have 2 at once";
  size_t count = 0;
  for (size_t at = 0; (at = result.output.find(told, at)) != std::string::npos; ++at) ++count;
  EXPECT_EQ(count, 4u) << result.output << result.errors;
  EXPECT_THAT(result.output, AllOf(HasSubstr("[(42,)]"), HasSubstr("in again"),
                                   Not(HasSubstr("closed the connection unexpectedly"))));
  size_t refused = 0;
  for (const Json& close : gateway->Records("gateway-close"))
    refused += close["why"].get<std::string>().starts_with("too many connections");
  EXPECT_GE(refused, 4u);
}

TEST_F(GatewayPostgres, ServerAwayOrGone) {
  auto gateway = Gateway();
  auto gone = Python(
      "c = psycopg2.connect(sys.argv[1]); k = c.cursor()\n"
      "try: k.execute('select pg_terminate_backend(pg_backend_pid())')\n"
      "except psycopg2.Error as e: print(type(e).__name__, e.pgcode)\n",
      {gateway->url()});
  EXPECT_THAT(gone.output, HasSubstr("OperationalError")) << gone.errors;
  server_.Stop();
  auto away = Psql(gateway->url(), "select 1");
  EXPECT_EQ(away.exit_code, 2);
  EXPECT_THAT(away.errors, HasSubstr("the database cannot be reached"));
  EXPECT_THAT(gateway->Records("gateway-unreachable"), ::testing::SizeIs(1));
  server_.Start();
  EXPECT_EQ(Psql(gateway->url(), "select 1").exit_code, 2) << "the gateway is gone by now";
}

}  // namespace
}  // namespace carrel::testing_support
