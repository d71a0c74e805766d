// Jobs of `carrel run` that are granted a PostgreSQL: what they reach, what they don't, and what of
// it is written down.
#include <gmock/gmock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/client_image.h"

namespace carrel::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class GatewayJob : public ::testing::Test {
 protected:
  GatewayJob() {
    MakeImages();
    AllowVersion(study_, "v2");
    Configure("default", "records");
    server_.Admin("create database other owner reader");
  }

  Json ServerConfig(const std::string& database) {
    return {{"kind", "postgresql"},
            {"host", "127.0.0.1"},
            {"port", server_.port()},
            {"database", database},
            {"tls", {{"mode", "off"}}},
            {"temporary_database", "scratch"},
            {"credentials", {{"file", server_.CredentialsFile()}}}};
  }
  void Configure(const std::string& name, const std::string& database) {
    study_.config()["databases"][name] = ServerConfig(database);
    study_.WriteConfig();
  }

  Json DatabaseJob(const std::string& script) {
    Json job = study_.Job(script);
    job["image"] = "dbprobe:v2";
    job["allow_database_access"] = true;
    return job;
  }
  /// Runs lines of shell in a granted job; the file output/out.csv is what it prints.
  std::string RunScript(const std::string& script) {
    const Json job =
        DatabaseJob("mkdir -p output; { " + script + "\n} > output/out.csv 2>&1; true");
    last_ = job["id"];
    const JobRun run = study_.Run(job);
    EXPECT_EQ(run.exit_code, 0) << run.errors << run.output;
    return ReadFile(study_.level3("output/out.csv")).value_or("(no output)");
  }
  /// The audit log of the last job, as JSON lines.
  std::string AuditLogText(std::vector<std::string> options = {}) {
    if (options.empty()) options = {"--kind", "all"};
    options.insert(options.begin(), {"audit", "query", last_, "--json"});
    return study_.Carrel(options).output;
  }

  // The cases; they share a server and a host, which take their time to make.
  void ClientsInsideReachTheDatabase();
  void NothingElseIsReachable();
  void AJobWithoutAGrantHasNoGateway();
  void TheRealPasswordIsNowhere();
  void ARelaysCredentialsAreWrittenNowhere();
  void TheDatabaseIsAway();
  void EndsWithTheActionWhateverItLeavesOpen();
  void SqlRunnerGetsItsRows();

  Postgres server_;
  Study study_;
  std::string last_;

 private:
  // Busybox, psql, pgbench, sqlrunner, and Python with psycopg2: programs of this host with the
  // libraries that they need.
  void MakeImages() {
    const std::string root = study_.path() + "/rootfs";
    const std::string script =
        "set -e; cd /; root=$1\n"
        "dpkg -L libpython3.11-minimal libpython3.11-stdlib python3-psycopg2 |"
        "  grep -E '^/usr/lib' | grep -vE '/(test|idlelib|lib2to3|tkinter|ensurepip|pydoc_data|"
        "unittest|distutils|asyncio|email|http|xml|xmlrpc|multiprocessing|curses|dbm|wsgiref|"
        "sqlite3|concurrent|urllib|turtledemo|__pycache__|tests)(/|$)' |"
        "  tar -c --no-recursion --ignore-failed-read -T - | tar -x -C $root\n";
    auto made = RunTool({"sh", "-c", script, "sh", root});
    ASSERT_EQ(made.exit_code, 0) << made.errors;
    AddPrograms(root, {CARREL_BUILD_DIR "/images/sqlrunner", "/usr/bin/python3.11",
                       std::string(kPostgresBin) + "psql", std::string(kPostgresBin) + "pgbench"});
    ImportRoot(study_, "dbprobe:v2");
    ImportRoot(study_, "sqlrunner:v1", {"/bin/sqlrunner"});
  }
};

void GatewayJob::ClientsInsideReachTheDatabase() {
  server_.Admin(
      "create table patients(id int, name text); insert into patients "
      "select g, 'patient ' || g from generate_series(1, 1000) g; "
      "grant all on patients to reader",
      "records");
  WriteFile(study_.repository() + "/pipeline.sql",
            "\\startpipeline\nselect 1;\nselect 2;\nselect 3;\n\\endpipeline\n");
  study_.Commit({});
  const std::string output = RunScript(
      "psql -XAt \"$DATABASE_URL\" -c 'select count(*), min(name) from patients'\n"
      "psql -XAt \"$DATABASE_URL\" -c '\\copy patients to /tmp/copy'; wc -l < /tmp/copy\n"
      "python3.11 -c 'import os, psycopg2; c = psycopg2.connect(os.environ[\"DATABASE_URL\"]); "
      "k = c.cursor(); k.execute(\"select name from patients where id = %s\", (7,)); "
      "print(k.fetchall())'\n"
      "pgbench -n -M extended -f pipeline.sql -t 5 \"$DATABASE_URL\" | grep processed\n"
      "echo \"$TEMP_DATABASE_NAME\"");
  EXPECT_EQ(output,
            "1000|patient 1\nCOPY 1000\n1000\n[('patient 7',)]\n"
            "number of transactions actually processed: 5/5\nscratch\n");
  const std::string log = AuditLogText();
  EXPECT_THAT(log, HasSubstr("select count(*), min(name) from patients"));
  EXPECT_THAT(log, HasSubstr("select name from patients where id = 7"));
  EXPECT_THAT(log, AllOf(HasSubstr("gateway-start"), HasSubstr("gateway-end")));
  // Each connection is tied to its process, whose execution the log has under the same pid.
  std::map<std::string, std::set<int>> connected, executed;
  const std::string lines = AuditLogText({"--kind", "all"});
  for (size_t at = 0, end; (end = lines.find('\n', at)) != std::string::npos; at = end + 1) {
    const Json line = Json::parse(lines.substr(at, end - at));
    if (line.value("record", "") == "gateway-open")
      connected[line["members"].value("comm", "")].insert(line["members"].value("host_pid", 0));
    if (line.value("syscall", "") == "connect" &&
        line.value("address", "") == "inet:127.0.0.1:5432")
      executed[line.value("comm", "")].insert(line.value("host_pid", 0));
  }
  EXPECT_THAT(connected, ::testing::SizeIs(3));  // psql, python3.11, pgbench
  EXPECT_EQ(connected, executed);
  auto verified = study_.Carrel({"audit", "verify", last_});
  EXPECT_EQ(verified.exit_code, 0) << verified.output << verified.errors;
  // One digit of the count is public, and no statement.
  const std::string published = ReadFile(study_.state() + "/public/log.jsonl").value_or("");
  EXPECT_THAT(published, AllOf(HasSubstr("\"statements\":"), Not(HasSubstr("\"statements\":0"))));
  EXPECT_THAT(published, Not(HasSubstr("patients")));
}

void GatewayJob::NothingElseIsReachable() {
  const std::string script =
      "cat > /tmp/t.py <<'END'\n"
      "import os, socket, psycopg2\n"
      "def dial(family, address, kind=socket.SOCK_STREAM):\n"
      "  try:\n"
      "    s = socket.socket(family, kind); s.settimeout(3); s.connect(address); "
      "print('CONNECTED', "
      "address)\n"
      "  except OSError as e: print('no', e.errno)\n"
      "inet = socket.AF_INET\n"
      "dial(inet, ('10.1.2.3', 5432))\n"
      "dial(inet, ('127.0.0.1', " +
      std::to_string(server_.port()) +
      "))\n"
      "dial(inet, ('127.0.0.2', 5432))\n"
      "dial(inet, ('8.8.8.8', 53), socket.SOCK_DGRAM)\n"
      "dial(socket.AF_INET6, ('::1', 5432))\n"
      "dial(socket.AF_UNIX, '\\0carrel')\n"
      "dial(socket.AF_UNIX, '/var/run/postgresql/.s.PGSQL.5432')\n"
      "url = os.environ['DATABASE_URL']\n"
      "def login(url):\n"
      "  try: psycopg2.connect(url); print('LOGGED IN')\n"
      "  except psycopg2.OperationalError as e: print(str(e).split('FATAL:')[1].strip())\n"
      "login(url.rsplit('/', 1)[0] + '/other')\n"
      "login('postgresql://job_000000000000:x@127.0.0.1:5432/records')\n"
      "login(open('old.txt').read().strip() if os.path.exists('old.txt') else url + 'x')\n"
      "END\n"
      "python3.11 /tmp/t.py; echo \"$DATABASE_URL\" > output/url.csv";
  // Another port of the job's own loopback: by Landlock already, where it knows of the network.
  const bool landlock = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, 1) >= 4;
  const std::string expected =
      "no 101\nno " + std::string(landlock ? "13" : "111") +
      "\nno 111\nno 101\nno 111\nno 111\nno 2\n"
      "this job was not granted the database \"other\"\npassword authentication failed\n";
  EXPECT_EQ(RunScript(script), expected + "this job was not granted the database \"recordsx\"\n");
  for (const char* address : {"inet:10.1.2.3:5432", "inet:127.0.0.2:5432", "inet6:[::1]:5432"})
    EXPECT_THAT(AuditLogText({"--address", address}), HasSubstr("\"connect\"")) << address;
  EXPECT_THAT(AuditLogText(), AllOf(HasSubstr("another database was asked for: other"),
                                    HasSubstr("the credentials are not this job's")));
  // The first job's credentials, in the next job.
  const std::string old = ReadFile(study_.level3("output/url.csv")).value_or("");
  EXPECT_THAT(old, ::testing::StartsWith("postgresql://job_"));
  study_.Commit({{"old.txt", old}});
  EXPECT_EQ(RunScript(script), expected + "password authentication failed\n");
  EXPECT_NE(ReadFile(study_.level3("output/url.csv")).value_or(""), old);
}

void GatewayJob::AJobWithoutAGrantHasNoGateway() {
  Json job = study_.Job(
      "mkdir -p output; psql -X 'postgresql://a:b@127.0.0.1:5432/records' "
      "> output/out.csv 2>&1; env >> output/out.csv");
  job["image"] = "dbprobe:v2";
  const JobRun run = study_.Run(job);
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  const std::string output = ReadFile(study_.level3("output/out.csv")).value_or("");
  EXPECT_THAT(output, AllOf(HasSubstr("could not create socket"), Not(HasSubstr("DATABASE_URL"))));
}

void GatewayJob::TheRealPasswordIsNowhere() {
  const std::string script =
      "env; cat /proc/self/environ /proc/1/environ /proc/1/cmdline; psql -XAt \"$DATABASE_URL\" -c "
      "\"select 'seen'\" -c '\\conninfo' -c 'select * from nope';"
      "psql \"$DATABASE_URL\"x -c 'select 1'; grep -r -a -l -- '" +
      std::string(kRealPassword).substr(0, 8) + "' /tmp /workspace /dev/shm; true";
  std::string all = RunScript(script);
  all += AuditLogText();
  EXPECT_THAT(all, HasSubstr("seen"));
  // With wrong credentials, too: what is said then.
  study_.config()["databases"]["default"]["credentials"]["file"] =
      server_.CredentialsFile("reader:" + std::string(kRealPassword) + "-wrong");
  study_.WriteConfig();
  all += RunScript(script);
  all += AuditLogText();
  EXPECT_THAT(all, HasSubstr("gateway-login-failed"));
  EXPECT_EQ(all.find(kRealPassword), std::string::npos);
  for (const std::string& place : {study_.state(), study_.high(), study_.medium()}) {
    auto found =
        RunTool({"grep", "-r", "-a", "-l", "--exclude-dir=bpf", "--", kRealPassword, place});
    EXPECT_EQ(found.output, "");
    EXPECT_EQ(found.exit_code, 1) << found.errors;
  }
  auto printed = RunTool({"sh", "-c", "cat \"$0\"/run*.out \"$0\"/run*.err", study_.path()});
  EXPECT_THAT(printed.output, Not(HasSubstr(kRealPassword)));
  EXPECT_THAT(printed.output, HasSubstr("decide"));
}

// The one kind of database whose real credentials are inside, and all that a client may make of
// them.
void GatewayJob::ARelaysCredentialsAreWrittenNowhere() {
  Configure("default", "records");
  const std::string password = "T0p+Se/cret% w\xc3\xb6rd";
  server_.Admin("alter role reader password '" + password + "'");
  study_.EditJson("policies/permissions/plain-relay.json", [](Json& file) {
    Json grant = {{"project", "internal"}, {"databases", {"default"}}};
    for (const char* member : {"reason", "approver"}) grant[member] = "a test";
    grant["date"] = "2026-01-12";
    grant["link"] = "https://example.org/approvals/6";
    file["grants"] = {grant};
  });
  Json& database = study_.config()["databases"]["default"];
  database["kind"] = "relay";
  database["scheme"] = "postgresql";
  database.erase("tls");
  database["credentials"]["file"] = server_.CredentialsFile("reader:" + password);
  study_.WriteConfig();
  const Json job = DatabaseJob(
      "mkdir -p output; psql -XAt \"$DATABASE_URL\" -c \"select 'seen'\" > output/out.csv;"
      "url=$DATABASE_URL; login=${url#*://}; login=${login%@*}; encoded=${login#*:};"
      "raw=$(printf %b \"$(echo $encoded | sed 's/%/\\\\x/g')\");"
      "lower=$(echo $encoded | sed 's/%2B/%2b/; s/%2F/%2f/; s/%C3%B6/%c3%b6/');"
      "twice=$(echo $encoded | sed 's/%/%25/g'); mixed=$(echo \"$raw\" | sed 's/ /+/');"
      "basic=$(printf %s \"reader:$raw\" | busybox base64); PGPASSWORD=$raw psql -XAt -h 127.0.0.1 "
      "-U "
      "reader"
      " -d records -c 'select 2' >> output/out.csv;"
      "for text in $DATABASE_URL \"$raw\" $encoded $lower $twice \"$mixed\" \"Basic $basic\" "
      "\"$(head -c 2500 /dev/zero | tr '\\0' x)$encoded\"; do"
      "  test -n \"$text\"; /bin/busybox echo \"$text\"; cat \"/tmp/$text\" \"$text\";"
      "  psql \"$text\" -c 'select 1'; done; env; true");
  last_ = job["id"];
  const JobRun run = study_.Run(job);
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_EQ(ReadFile(study_.level3("output/out.csv")).value_or(""), "seen\n2\n");
  const std::string all = AuditLogText() + study_.Carrel({"audit", "show", last_}).output +
                          run.output + run.errors +
                          ReadFile(study_.LogDirectory(last_) + "/logs.txt").value_or("");
  EXPECT_THAT(all, AllOf(HasSubstr("postgresql://reader:*****"), HasSubstr("Basic ********")));
  std::vector<std::string> grep = {"grep", "-r", "-a", "-F", "-l", "--exclude-dir=bpf"};
  for (const char* spelling : {"Se/cret", "Se%2Fcret", "Se%2fcret", "Se%252Fcret", "Se\\/cret",
                               "cmVhZGVyOlQwcCtTZS9jcmV0"}) {
    EXPECT_EQ(all.find(spelling), std::string::npos) << spelling;
    grep.insert(grep.end(), {"-e", spelling});
  }
  grep.insert(grep.end(), {study_.state(), study_.high(), study_.medium()});
  auto found = RunTool(grep);
  EXPECT_EQ(found.output, "");
  EXPECT_EQ(found.exit_code, 1) << found.errors;
}

void GatewayJob::TheDatabaseIsAway() {
  server_.Stop();
  EXPECT_THAT(RunScript("psql \"$DATABASE_URL\" -c 'select 1'"),
              HasSubstr("the database cannot be reached"));
  EXPECT_THAT(AuditLogText(), AllOf(HasSubstr("gateway-unreachable"), HasSubstr("ECONNREFUSED")));
  server_.Start();
  study_.config()["databases"]["default"]["host"] = "no-such-host.invalid";
  study_.WriteConfig();
  const JobRun run = study_.Run(DatabaseJob("true"));
  EXPECT_EQ(run.exit_code, 70);
  EXPECT_THAT(run.error(), HasSubstr("no-such-host.invalid"));
}

void GatewayJob::EndsWithTheActionWhateverItLeavesOpen() {
  const auto began = std::chrono::steady_clock::now();
  Json job = DatabaseJob(
      "mkdir -p output; for i in 1 2 3 4 5 6 7 8; do psql \"$DATABASE_URL\" -c "
      "'select pg_sleep(100)' & done; sleep 2; echo x > output/a.csv");
  const JobRun run = study_.Run(job);
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(60));
  last_ = job["id"];
  EXPECT_THAT(AuditLogText(), AllOf(HasSubstr("unfinished"),
                                    HasSubstr("\"how\":\"the cancel request is delivered\"")));
  EXPECT_TRUE(server_.Comes(0, "%"));
}

void GatewayJob::SqlRunnerGetsItsRows() {
  server_.Admin(
      "create table people(id int); insert into people values (1), (2), (3);"
      "create table \"PatientsWithTypeOneDissent\"(id int);"
      "insert into \"PatientsWithTypeOneDissent\" values (2); grant select on "
      "people, \"PatientsWithTypeOneDissent\" to reader",
      "records");
  study_.Commit({{"query.sql",
                  "select id from people where id not in (select id from "
                  "\"PatientsWithTypeOneDissent\") order by id"}});
  Json job = study_.Job("");
  job["image"] = "sqlrunner:v1";
  job["args"] = {"query.sql", "--output", "output/rows.csv"};
  job["allow_database_access"] = true;
  const JobRun run = study_.Run(job);
  ASSERT_EQ(run.exit_code, 0) << run.errors << run.output;
  EXPECT_EQ(ReadFile(study_.level3("output/rows.csv")).value_or(""), "id\r\n1\r\n3\r\n");
  last_ = job["id"];
  EXPECT_THAT(AuditLogText(), AllOf(HasSubstr("BEGIN READ ONLY"), HasSubstr("\"prepare\""),
                                    HasSubstr("order by id")));
}

TEST_F(GatewayJob, ReachesItsDatabaseAndNothingElse) {
  ClientsInsideReachTheDatabase();
  NothingElseIsReachable();
  AJobWithoutAGrantHasNoGateway();
}

TEST_F(GatewayJob, EndsWithTheActionAndTellsNoPassword) {
  SqlRunnerGetsItsRows();
  EndsWithTheActionWhateverItLeavesOpen();
  TheRealPasswordIsNowhere();
  Configure("default", "records");
  TheDatabaseIsAway();
  ARelaysCredentialsAreWrittenNowhere();
}

}  // namespace
}  // namespace carrel::testing_support
