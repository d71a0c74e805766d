// PostgreSQL's protocol without sockets: hostile clients and servers, and the log's matching.
#include <gmock/gmock.h>

#include "gateway/pg_session.h"
#include "gateway/postgres.h"

namespace carrel::gateway::pg {
namespace {

using ::testing::HasSubstr;

class FakeLink final : public Link {
 public:
  void ToClient(std::string_view bytes) override { client += bytes; }
  void ToServer(std::string_view bytes) override { server += bytes; }
  void Connect() override { connects++; }
  void ConnectToCancel() override { connects_to_cancel++; }
  void Close(const std::string& why) override { closed = why; }
  uint64_t id() const override { return 7; }
  void Log(Record record) override {
    if (auto* statement = std::get_if<Statement>(&record))
      statements.push_back(*statement);
    else
      Note(std::get<Event>(record));
  }
  void Note(const Event& event) {
    events.push_back(event.kind);
    for (const auto& [name, value] : event.members)
      if (auto* text = std::get_if<std::string>(&value))
        texts += *text + '\n';
      else
        texts += name + ' ' + std::to_string(std::get<uint64_t>(value)) + '\n';
  }
  std::string client, server, closed;
  int connects = 0, connects_to_cancel = 0;
  std::vector<Statement> statements;
  std::vector<std::string> events;
  std::string texts;  ///< of the events
};

std::string Zero(std::string text) { return text + '\0'; }
std::string Query(const std::string& sql) { return Message('Q', Zero(sql)); }
std::string Parse(const std::string& name, const std::string& sql) {
  return Message('P', Zero(name) + Zero(sql) + std::string(2, '\0'));
}
std::string Bind(const std::string& name) {
  return Message('B', Zero("") + Zero(name) + std::string(6, '\0'));
}
std::string Execute() { return Message('E', Zero("") + U32(0)); }
const std::string kSync = Message('S', "");
const std::string kReady = Message('Z', "I");
std::string Complete(const std::string& tag) { return Message('C', Zero(tag)); }
std::string Failure(const std::string& state) {
  return Message('E', Zero("SERROR") + Zero("C" + state) + Zero("Mtext") + '\0');
}

class StatementsTest : public ::testing::Test {
 protected:
  FakeLink link_;
  Statements statements_{link_, "the-secret"};
};

TEST_F(StatementsTest, SeesStatementsThroughAnySplit) {
  const std::string client =
      Query("select 1") + Parse("p", "select $1") + Bind("p") + Execute() + kSync;
  const std::string server = Message('T', "x") + Message('D', "12345") + Complete("SELECT 1") +
                             kReady + Message('1', "") + Message('2', "") + Message('D', "1") +
                             Complete("SELECT 1") + kReady;
  for (char byte : client) ASSERT_TRUE(statements_.FromClient({&byte, 1}));
  EXPECT_TRUE(statements_.Busy());
  for (char byte : server) ASSERT_TRUE(statements_.FromServer({&byte, 1}));
  EXPECT_FALSE(statements_.Busy());
  ASSERT_EQ(link_.statements.size(), 3u);
  EXPECT_EQ(link_.statements[0].text, "select 1");
  EXPECT_EQ(link_.statements[0].rows, 1u);
  EXPECT_EQ(link_.statements[0].bytes_out, 5u);
  EXPECT_EQ(link_.statements[0].tag, "SELECT 1");
  EXPECT_STREQ(link_.statements[1].how, "prepare");
  EXPECT_STREQ(link_.statements[2].how, "execute");
  EXPECT_EQ(link_.statements[2].prepared, link_.statements[1].number);
}

TEST_F(StatementsTest, AnErrorInAPipelineEndsAtTheSync) {
  ASSERT_TRUE(statements_.FromClient(Parse("", "bad") + Bind("") + Execute() + Query("dropped") +
                                     kSync + Query("next")));
  ASSERT_TRUE(statements_.FromServer(Failure("42601") + kReady + Complete("SELECT 0") + kReady));
  ASSERT_EQ(link_.statements.size(), 4u);
  EXPECT_EQ(link_.statements[0].error, "42601");
  EXPECT_THAT(link_.statements[1].tag, HasSubstr("not run"));
  EXPECT_THAT(link_.statements[2].tag, HasSubstr("not run"));
  EXPECT_EQ(link_.statements[2].text, "dropped");
  EXPECT_EQ(link_.statements[3].text, "next");
  EXPECT_EQ(link_.statements[3].tag, "SELECT 0");
  EXPECT_FALSE(statements_.Busy());
}

// Most errors of prepared statements come with the Bind: of a parameter, or of the plan.
TEST_F(StatementsTest, AnErrorOfABindIsToldWithItsExecution) {
  ASSERT_TRUE(statements_.FromClient(Parse("", "select 1/0") + Bind("") + Message('D', Zero("P")) +
                                     Execute() + Parse("", "later") + Bind("") + Execute() +
                                     kSync));
  ASSERT_TRUE(statements_.FromServer(Message('1', "") + Failure("22012") + kReady));
  ASSERT_EQ(link_.statements.size(), 4u);
  EXPECT_EQ(link_.statements[0].error, "");
  EXPECT_EQ(link_.statements[1].error, "22012");
  EXPECT_EQ(link_.statements[1].tag, "");
  EXPECT_GE(link_.statements[1].duration_ns, 0);
  for (size_t i : {2, 3}) EXPECT_THAT(link_.statements[i].tag, HasSubstr("not run"));
  EXPECT_TRUE(link_.events.empty());
}

// What the server finds out of a statement's parameters is told with its number.
TEST_F(StatementsTest, TypesThatTheServerFindsAreTiedToTheirStatement) {
  ASSERT_TRUE(statements_.FromClient(Query("select 0") + Parse("p", "select $1::int") +
                                     Message('D', Zero("Sp")) + kSync));
  ASSERT_TRUE(statements_.FromServer(Complete("SELECT 1") + kReady + Message('1', "") +
                                     Message('t', std::string("\0\1", 2) + U32(23)) +
                                     Message('T', "x") + kReady));
  EXPECT_EQ(link_.events, std::vector<std::string>{"statement-types"});
  EXPECT_EQ(link_.texts, "statement 2\nint4\n");
}

TEST_F(StatementsTest, AnErrorOfABindWithoutExecutionIsToldAlone) {
  ASSERT_TRUE(
      statements_.FromClient(Bind("nosuch") + Parse("", "next") + Bind("") + Execute() + kSync));
  ASSERT_TRUE(statements_.FromServer(Failure("26000") + kReady));
  EXPECT_EQ(link_.events, std::vector<std::string>{"gateway-server-error"});
  EXPECT_EQ(link_.texts, "26000\n");
  for (const Statement& statement : link_.statements) {
    EXPECT_EQ(statement.error, "");
    EXPECT_THAT(statement.tag, HasSubstr("not run"));
  }
}

TEST_F(StatementsTest, RowsOfACopyAreAsTheServerCountsThem) {
  ASSERT_TRUE(statements_.FromClient(Query("select 1; copy t to stdout (format binary)")));
  ASSERT_TRUE(statements_.FromServer(Message('D', "1") + Complete("SELECT 1") + Message('H', "x") +
                                     Message('d', "header, row") + Message('d', "row") +
                                     Message('d', "trailer") + Message('c', "") +
                                     Complete("COPY 2") + kReady));
  ASSERT_TRUE(statements_.FromClient(Query("copy t from stdin")));
  ASSERT_TRUE(statements_.FromServer(Message('G', "x")));
  ASSERT_TRUE(statements_.FromClient(Message('d', "1\n2\n3\n") + Message('c', "")));
  ASSERT_TRUE(statements_.FromServer(Complete("COPY 3") + kReady));
  // What came before a failure has come.
  ASSERT_TRUE(statements_.FromClient(Query("copy u to stdout")));
  ASSERT_TRUE(
      statements_.FromServer(Message('H', "x") + Message('d', "1\n") + Failure("57014") + kReady));
  ASSERT_EQ(link_.statements.size(), 3u);
  EXPECT_EQ(link_.statements[0].rows, 3u);
  EXPECT_EQ(link_.statements[1].rows, 3u);
  EXPECT_EQ(link_.statements[1].bytes_in, 6u);
  EXPECT_EQ(link_.statements[2].rows, 1u);
}

TEST(RecordQueueTest, HidesTheSecretInWhatIsNoText) {
  auto queue = RecordQueue::Make();
  ASSERT_TRUE(queue.has_value());
  (*queue)->Hide("the-secret");
  Statement statement;
  statement.name = "a the-secret";
  statement.tag = "the-secretthe-secret";
  (*queue)->Push(statement);
  (*queue)->Push(Event{"gateway-settings", 1, {{"text", "application_name=the-secret"}}});
  std::string all;
  ASSERT_TRUE((*queue)
                  ->Drain([&](const std::string&, const Json& members) -> Result<void> {
                    all += members.dump();
                    return {};
                  })
                  .has_value());
  EXPECT_EQ(all.find("the-secret"), std::string::npos) << all;
  EXPECT_THAT(all, HasSubstr("application_name=[]"));
}

TEST_F(StatementsTest, SyncsDuringACopyAreNotAnswered) {
  ASSERT_TRUE(
      statements_.FromClient(Parse("", "copy t from stdin") + Bind("") + Execute() + kSync));
  ASSERT_TRUE(statements_.FromServer(Message('1', "") + Message('2', "") + Message('G', "abc")));
  ASSERT_TRUE(
      statements_.FromClient(Message('d', "row") + Message('c', "") + kSync + Query("after")));
  ASSERT_TRUE(statements_.FromServer(Complete("COPY 1") + kReady + Complete("SELECT 9") + kReady));
  ASSERT_EQ(link_.statements.size(), 3u);
  EXPECT_EQ(link_.statements[1].tag, "COPY 1");
  EXPECT_EQ(link_.statements[1].bytes_in, 3u);
  EXPECT_EQ(link_.statements[2].tag, "SELECT 9");
}

// A COPY that fails before it reads anything (a trigger's doing) leaves the Sync behind it in
// force, one that fails later does not: "not run" is said of nothing that may have run.
TEST_F(StatementsTest, ACopyThatFailsMakesNothingLookAsIfItHadNotRun) {
  const std::string copy = Parse("", "copy t from stdin") + Bind("") + Execute();
  const std::string rows = Message('D', "12") + Message('D', "34");
  ASSERT_TRUE(statements_.FromClient(copy + Message('d', "row") + Message('c', "") + kSync +
                                     Parse("", "select secrets") + Bind("") + Execute() + kSync));
  ASSERT_TRUE(statements_.FromServer(Message('1', "") + Message('2', "") + Message('G', "abc") +
                                     Failure("22P02") + kReady + Message('1', "") +
                                     Message('2', "") + rows + Complete("SELECT 2") + kReady));
  ASSERT_EQ(link_.statements.size(), 4u);
  EXPECT_EQ(link_.statements[1].error, "22P02");
  EXPECT_EQ(link_.statements[2].text, "select secrets");
  EXPECT_EQ(link_.statements[2].tag, "");
  EXPECT_EQ(link_.statements[3].tag, "SELECT 2");
  EXPECT_EQ(link_.statements[3].rows, 2u);
  EXPECT_FALSE(statements_.Busy());
  // A Sync among the data: the server takes it for one, or drops it.
  for (const bool dropped : {true, false}) {
    FakeLink link;
    Statements statements(link, "");
    ASSERT_TRUE(statements.FromClient(copy));
    ASSERT_TRUE(statements.FromServer(Message('1', "") + Message('2', "") + Message('G', "abc")));
    ASSERT_TRUE(statements.FromClient(kSync + Parse("", "select 1") + Bind("") + Execute() + kSync +
                                      Parse("", "select 2") + Bind("") + Execute() + kSync));
    ASSERT_TRUE(statements.FromServer(Failure("57014") + kReady));
    const std::string answer = Message('1', "") + Message('2', "") + rows + Complete("SELECT 2");
    if (!dropped) {
      ASSERT_TRUE(statements.FromServer(answer + kReady));
    }
    ASSERT_TRUE(statements.FromServer(answer + kReady));
    ASSERT_TRUE(statements.FromClient(Query("last")));
    ASSERT_TRUE(statements.FromServer(Failure("42601") + kReady));
    statements.Finished();
    uint64_t counted = 0;
    for (const Statement& statement : link.statements) {
      EXPECT_THAT(statement.tag, ::testing::Not(HasSubstr("not run"))) << statement.text;
      counted += statement.rows;
    }
    EXPECT_EQ(counted, dropped ? 2u : 4u);
    EXPECT_EQ(link.statements.size(), 7u);
  }
}

TEST_F(StatementsTest, AfterAFailedCopyTheNextAnswersFindTheirStatements) {
  // As libpq sends it: a Sync with the COPY, and one when it has failed.
  ASSERT_TRUE(
      statements_.FromClient(Parse("", "copy t from stdin") + Bind("") + Execute() + kSync));
  ASSERT_TRUE(statements_.FromServer(Message('1', "") + Message('2', "") + Message('G', "abc")));
  ASSERT_TRUE(statements_.FromClient(Message('d', "row")));
  ASSERT_TRUE(statements_.FromServer(Failure("22P02")));
  ASSERT_TRUE(statements_.FromClient(Message('f', Zero("why")) + kSync));
  ASSERT_TRUE(statements_.FromServer(kReady));
  ASSERT_TRUE(statements_.FromClient(Query("rollback")));
  ASSERT_TRUE(statements_.FromServer(Complete("ROLLBACK") + kReady));
  ASSERT_TRUE(statements_.FromClient(Query("bad")));
  ASSERT_TRUE(statements_.FromServer(Failure("42601") + kReady));
  ASSERT_EQ(link_.statements.size(), 4u);
  EXPECT_EQ(link_.statements[2].tag, "ROLLBACK");
  EXPECT_EQ(link_.statements[3].error, "42601");
  EXPECT_FALSE(statements_.Busy());
}

TEST_F(StatementsTest, RowsOfNoStatementAreCounted) {
  ASSERT_TRUE(statements_.FromServer(Message('D', "12") + Message('D', "34")));
  statements_.Finished();
  EXPECT_EQ(link_.events, std::vector<std::string>{"statement-rows"});
}

TEST_F(StatementsTest, AServerCannotMakeRecordsAtWill) {
  const std::string types = Message('t', std::string("\0\1\0\0\0\x17", 6));
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(statements_.FromServer(types + Message('E', "")));
  EXPECT_LT(link_.events.size(), 20u);
  ASSERT_TRUE(statements_.FromClient(Message('D', Zero("S"))));
  ASSERT_TRUE(statements_.FromServer(types + types));
  EXPECT_EQ(std::count(link_.events.begin(), link_.events.end(), "statement-types"), 1);
}

TEST_F(StatementsTest, LongTextsDoNotWaitForTheirAnswers) {
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(statements_.FromClient(Query("select 1 -- " + std::string(60'000, 'x'))));
  EXPECT_GT(std::count(link_.events.begin(), link_.events.end(), "statement-text"), 80);
  // Every parameter has a type: not all are kept.
  ASSERT_TRUE(statements_.FromClient(
      Message('P', Zero("") + Zero("select") + "\xff\xff" + std::string(size_t{65535} * 4, '\0'))));
  statements_.Finished();
  ASSERT_EQ(link_.statements.size(), 101u);
  EXPECT_EQ(link_.statements[100].types.size(), 1001u);
  EXPECT_EQ(link_.statements[100].types.back(), "and 64535 more");
}

TEST_F(StatementsTest, WhatIsUnfinishedIsLoggedAtTheEnd) {
  ASSERT_TRUE(statements_.FromClient(Query("never answered")));
  ASSERT_TRUE(statements_.FromClient(std::string("Q\0\0\0\x40", 5) + "half of it"));
  statements_.Finished();
  ASSERT_EQ(link_.statements.size(), 2u);
  EXPECT_EQ(link_.statements[0].text, "half of it");
  EXPECT_EQ(link_.statements[0].tag, "not sent whole");
  EXPECT_EQ(link_.statements[1].duration_ns, -1);
}

TEST_F(StatementsTest, HidesTheRealPasswordAndRefusesWhatIsNotTheProtocol) {
  ASSERT_TRUE(statements_.FromClient(Query("alter role x password 'the-secret'")));
  ASSERT_TRUE(statements_.FromServer(Complete("ALTER ROLE") + kReady));
  EXPECT_EQ(link_.statements.at(0).text, "alter role x password '[]'");
  for (const std::string& bytes :
       {std::string("Q\0\0\0\3", 5), std::string("Q\xff\xff\xff\xff", 5),
        std::string("y\0\0\0\4", 5), std::string("S\0\1\0\0", 5), Message('p', "password"),
        Message('P', "no end"), Message('E', ""), Message('F', "12")}) {
    FakeLink link;
    EXPECT_FALSE(Statements(link, "").FromClient(bytes)) << bytes;
  }
  for (const std::string& bytes : {Message('K', "12345678"), Message('R', U32(3)),
                                   Message('W', "abc"), std::string("D\0\0\0\1", 5)}) {
    FakeLink link;
    EXPECT_FALSE(Statements(link, "").FromServer(bytes)) << bytes;
  }
}

TEST_F(StatementsTest, APipelineWithoutAnswersIsHeldBack) {
  for (int i = 0; i < 16384 && statements_.Room(); ++i) ASSERT_TRUE(statements_.FromClient(kSync));
  EXPECT_FALSE(statements_.Room());
  ASSERT_TRUE(statements_.FromServer(kReady));
  EXPECT_TRUE(statements_.Room());
}

// The login, with a fake server on the other side.
class SessionTest : public ::testing::Test {
 protected:
  SessionTest() {
    upstream_.kind = "postgresql";
    upstream_.host = "127.0.0.1";
    upstream_.database = "records";
    upstream_.user = "reader";
    upstream_.tls = TlsMode::kDisable;
    upstream_.client_login = ClientLogin::kCleartext;
    upstream_.password = std::move(*Secret::Of("real-password"));
    factory_ = std::move(*MakePostgres(upstream_, {"job_1", "job-password"}));
    session_ = factory_->Make(link_);
  }
  void SendLogin() {
    const std::string body =
        U32(kVersion3) + Zero("user") + Zero("job_1") + Zero("database") + Zero("records") + '\0';
    session_->FromClient(U32(static_cast<uint32_t>(body.size() + 4)) + body);
    session_->FromClient(Message('p', Zero("job-password")));
    ASSERT_EQ(link_.connects, 1);
  }
  void LogClientIn() {
    SendLogin();
    session_->Connected();
    link_.client.clear();
    link_.server.clear();
  }
  void ExpectRefused(const std::string& bytes, const std::string& why) {
    LogClientIn();
    session_->FromServer(bytes);
    EXPECT_THAT(link_.closed, HasSubstr(why));
    EXPECT_EQ(link_.server.find("real-password"), std::string::npos);
    EXPECT_THAT(link_.client, HasSubstr("FATAL"));
  }

  Upstream upstream_;
  FakeLink link_;
  std::unique_ptr<ProtocolFactory> factory_;
  std::unique_ptr<Protocol> session_;
};

TEST_F(SessionTest, AHostileServerGetsNoPasswordInClear) {
  ExpectRefused(Message('R', U32(3)), "in clear, without TLS");
}
TEST_F(SessionTest, AServerMustProveItself) {
  LogClientIn();
  session_->FromServer(Message('R', U32(10) + Zero("SCRAM-SHA-256") + '\0'));
  EXPECT_THAT(link_.server, HasSubstr("n,,n=,r="));
  session_->FromServer(Message('R', U32(0)));
  EXPECT_THAT(link_.closed, HasSubstr("did not prove"));
}
TEST_F(SessionTest, SettingsOfTheLoginAreLogged) {
  const std::string body = U32(kVersion3) + Zero("user") + Zero("job_1") + Zero("database") +
                           Zero("records") + Zero("options") + Zero("-c role=owner") +
                           Zero("role") + Zero("owner") + '\0';
  session_->FromClient(U32(static_cast<uint32_t>(body.size() + 4)) + body);
  session_->FromClient(Message('p', Zero("job-password")));
  session_->Connected();
  EXPECT_THAT(link_.server, HasSubstr(Zero("role") + Zero("owner")));
  EXPECT_EQ(link_.texts, "options=-c role=owner, role=owner\n");
}

TEST_F(SessionTest, ADemandIsMetOnce) {
  for (const std::string& again :
       {Message('R', U32(5) + "salt"), Message('R', U32(11) + "r=x,s=c2FsdA==,i=4096")}) {
    link_ = FakeLink();
    session_ = factory_->Make(link_);
    LogClientIn();
    const bool scram = again.find("r=") != std::string::npos;
    std::string answer = again;
    if (scram) {
      session_->FromServer(Message('R', U32(10) + Zero("SCRAM-SHA-256") + '\0'));
      const std::string nonce = link_.server.substr(link_.server.find("r=") + 2);
      answer = Message('R', U32(11) + "r=" + nonce + "x,s=c2FsdA==,i=4096");
    }
    link_.server.clear();
    session_->FromServer(answer + answer);
    EXPECT_THAT(link_.closed, HasSubstr("again"));
    const std::string sign = scram ? ",p=" : "md5";
    EXPECT_NE(link_.server.find(sign), std::string::npos);
    EXPECT_EQ(link_.server.find(sign), link_.server.rfind(sign));
  }
}

TEST_F(SessionTest, ImpossibleIterationsAreRefused) {
  LogClientIn();
  session_->FromServer(Message('R', U32(10) + Zero("SCRAM-SHA-256") + '\0'));
  const std::string nonce = link_.server.substr(link_.server.find("r=") + 2);
  session_->FromServer(Message('R', U32(11) + "r=" + nonce + "more,s=c2FsdA==,i=2000000000"));
  EXPECT_THAT(link_.closed, HasSubstr("iterations"));
}
// As PostgreSQL says it itself, so that clients that wait and try again do.
TEST_F(SessionTest, OverTheLimitTheClientIsToldInItsOwnWords) {
  SendLogin();
  link_.client.clear();
  session_->NoRoom("too many connections: 2");
  ASSERT_EQ(link_.client.substr(0, 1), "E");
  const std::string_view error = std::string_view(link_.client).substr(5);
  EXPECT_EQ(ErrorField(error, 'C'), "53300");
  EXPECT_EQ(ErrorField(error, 'S'), "FATAL");
  EXPECT_EQ(ErrorField(error, 'M'), "too many connections: 2");
  EXPECT_EQ(link_.closed, "too many connections: 2");
  EXPECT_EQ(link_.server, "");
}

TEST_F(SessionTest, OfTheIdleLimitTheClientIsTold) {
  link_.client.clear();
  session_->Idle("idle for too long: 2");
  ASSERT_EQ(link_.client.substr(0, 1), "E");
  const std::string_view error = std::string_view(link_.client).substr(5);
  EXPECT_EQ(ErrorField(error, 'C'), "57P05");
  EXPECT_EQ(ErrorField(error, 'M'), "idle for too long: 2");
}

TEST_F(SessionTest, OtherDemandsAreRefused) { ExpectRefused(Message('R', U32(7)), "kind 7"); }
TEST_F(SessionTest, MessagesThatDontBelongThereAreRefused) {
  ExpectRefused(Message('D', "row"), "doesn't belong into a login");
}
TEST_F(SessionTest, LongMessagesAreRefused) {
  ExpectRefused(std::string("R\x7f\xff\xff\xff", 5), "doesn't speak");
}

TEST_F(SessionTest, AHostileClientIsClosed) {
  session_->FromClient(std::string("\0\0\0\4\0\3\0\0", 8));
  EXPECT_FALSE(link_.closed.empty());
  FakeLink other;
  auto session = factory_->Make(other);
  session->FromClient(std::string("\x7f\xff\xff\xff\0\3\0\0", 8));
  EXPECT_FALSE(other.closed.empty());
  EXPECT_EQ(link_.connects + other.connects, 0);
}

TEST_F(SessionTest, TheServersCancelKeyStaysOutside) {
  LogClientIn();
  session_->FromServer(Message('R', U32(0)) + Message('K', U32(100) + "KEY!") + kReady);
  ASSERT_EQ(link_.closed, "");
  EXPECT_EQ(link_.client.find("KEY!"), std::string::npos);
  const std::string given = link_.client.substr(link_.client.find('K') + 5, 8);
  FakeLink canceller;
  auto cancel = factory_->Make(canceller);
  cancel->FromClient(U32(16) + U32(kCancelRequest) + given);
  ASSERT_EQ(canceller.connects_to_cancel, 1);  // with room for a connection or without
  cancel->Connected();
  EXPECT_EQ(canceller.server, U32(16) + U32(kCancelRequest) + U32(100) + "KEY!");
  session_->Finished();  // the key ends with its session
  FakeLink late;
  auto again = factory_->Make(late);
  again->FromClient(U32(16) + U32(kCancelRequest) + given);
  EXPECT_EQ(late.connects + late.connects_to_cancel, 0);
  EXPECT_THAT(late.events, ::testing::Contains("gateway-refused"));
}

// RFC 7677, section 3.
TEST(ScramTest, GivesTheExampleOfTheRfc) {
  auto salt = FromBase64("W22ZaJ0SNY7soEsUEjb6gQ==");
  auto keys = ScramKeys::Derive("pencil", *salt, 4096);
  ASSERT_TRUE(keys.has_value());
  ScramServer server(*keys, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
  EXPECT_EQ(server.First("n,,n=user,r=rOprNGfwEbeRWgbNEkqO").value_or(""),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,"
            "i=4096");
  EXPECT_EQ(server
                .Final("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                       "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
                .value_or(""),
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
  EXPECT_FALSE(FromBase64("a").has_value());
  EXPECT_FALSE(FromBase64("!!!!").has_value());
}

TEST(ScramTest, BothEndsAgreeAndNobodyElse) {
  auto keys = ScramKeys::Derive("password", "salt-salt", 4096);
  auto wrong = ScramKeys::Derive("Password", "salt-salt", 4096);
  for (bool right : {true, false}) {
    ScramServer server(*keys, "server-nonce");
    ScramClient client("client-nonce");
    auto first = server.First(client.First());
    ASSERT_TRUE(first.has_value());
    ASSERT_TRUE(client.Challenge(*first).has_value());
    auto last = server.Final(client.Final(right ? *keys : *wrong));
    EXPECT_EQ(last.has_value(), right);
    EXPECT_EQ(last && client.Verify(*last).has_value(), right);
    EXPECT_FALSE(client.Verify("v=AAAA").has_value());
  }
}

TEST(ScramTest, BindsTheLoginToTheServersCertificate) {
  auto keys = ScramKeys::Derive("password", "salt-salt", 4096);
  ScramClient client("client-nonce", ChannelBinding::To("digest"));
  EXPECT_EQ(client.First(), "p=tls-server-end-point,,n=,r=client-nonce");
  ASSERT_TRUE(client.Challenge("r=client-nonce-server,s=c2FsdC1zYWx0,i=4096").has_value());
  const std::string last = client.Final(*keys);
  EXPECT_EQ(last.substr(2, last.find(',') - 2), Base64("p=tls-server-end-point,,digest"));
  ScramClient other("client-nonce", ChannelBinding::To("another"));
  (void)other.First();
  ASSERT_TRUE(other.Challenge("r=client-nonce-server,s=c2FsdC1zYWx0,i=4096").has_value());
  EXPECT_NE(other.Final(*keys).substr(last.rfind(",p=")), last.substr(last.rfind(",p=")));
}

}  // namespace
}  // namespace carrel::gateway::pg
