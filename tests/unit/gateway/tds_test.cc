// TDS without sockets: the session between a client and a server that the test plays.
#include "gateway/tds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/gateway/tds_tokens.h"

namespace carrel::gateway {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using namespace tds;         // NOLINT: the whole vocabulary of the protocol
using namespace tds_tokens;  // NOLINT

class FakeLink final : public Link {
 public:
  void ToClient(std::string_view bytes) override { client.append(bytes); }
  void ToServer(std::string_view bytes) override { server.append(bytes); }
  void Connect() override { connects = true; }
  void Close(const std::string& why) override {
    if (closed.empty()) closed = why;
  }
  uint64_t id() const override { return 1; }
  void Log(Record record) override {
    if (auto* statement = std::get_if<Statement>(&record))
      statements.push_back(std::move(*statement));
    else
      events.push_back(std::move(std::get<Event>(record)));
  }
  std::string client, server, closed;
  bool connects = false;
  std::vector<Statement> statements;
  std::vector<Event> events;
};

std::string NText(const std::string& text) {
  const std::string utf16 = ToUtf16(text);
  return std::string(2, '\0') + "\xe7" + Little(8000, 2) + std::string(5, '\0') +
         Little(utf16.size(), 2) + utf16;
}
std::string Int(uint32_t value) { return std::string(2, '\0') + "\x26\x04\x04" + Little(value, 4); }
std::string Call(uint16_t number) { return "\xff\xff" + Little(number, 2) + Little(0, 2); }

class TdsTest : public ::testing::Test {
 protected:
  TdsTest() {
    upstream.kind = "mssql";
    upstream.host = "db.example";
    upstream.database = "records";
    upstream.tls = TlsMode::kDisable;
    upstream.user = "real_user";
    upstream.password = *Secret::Of("real pass\xc3\xa9");
    factory = *MakeTds(upstream, {"job_1", "job password"});
    session = factory->Make(link);
  }

  void SendLogin(const Login7& login = SampleLogin(),
                 const std::string& password = "job password") {
    session->FromClient(Packets(kPrelogin, WritePrelogin(Encryption::kLoginOnly)));
    session->FromClient(Packets(kLogin7, WriteLogin7(login, password)));
  }
  // Up to the relay; what was sent is forgotten.
  void LogIn(const std::string& database = "records") {
    SendLogin();
    session->Connected();
    session->FromServer(Reply(WritePrelogin(Encryption::kNotSupported)));
    session->FromServer(Reply(Change(1, database) + LoginAck() + Done(0, 0)));
    ASSERT_TRUE(session->LoggedIn()) << link.closed;
    link.client.clear();
    link.server.clear();
  }
  std::string Text(const std::string& utf16_stream) {
    std::string text;
    for (char c : utf16_stream)
      if (c != '\0') text += c;
    return text;
  }
  // Every byte that went in either direction or to the log.
  std::string AllText() {
    std::string all = Text(link.client) + link.closed;
    for (const Statement& s : link.statements) all += s.text + s.error + s.tag + s.name;
    for (const Event& e : link.events)
      for (const auto& [name, value] : e.members)
        if (auto* text = std::get_if<std::string>(&value)) all += *text;
    return all;
  }

  Upstream upstream;
  FakeLink link;
  std::unique_ptr<ProtocolFactory> factory;
  std::unique_ptr<Protocol> session;
};

TEST_F(TdsTest, TheLoginIsWrittenAnew) {
  Login7 login = SampleLogin();
  login.host = "inside";
  login.server = "127.0.0.1";
  login.packet_size = 1'000'000;
  SendLogin(login);
  EXPECT_TRUE(link.connects);
  EXPECT_EQ(static_cast<uint8_t>(link.client[0]), kResult);
  auto answered = ReadPrelogin(std::string_view(link.client).substr(8));
  ASSERT_TRUE(answered.has_value());
  EXPECT_EQ(*answered, Encryption::kNotSupported);
  session->Connected();
  auto asked = ReadPrelogin(std::string_view(link.server).substr(8));
  EXPECT_EQ(*asked, Encryption::kNotSupported);
  link.server.clear();
  session->FromServer(Reply(WritePrelogin(Encryption::kNotSupported)));
  auto sent = ReadLogin7(std::string_view(link.server).substr(8));
  ASSERT_TRUE(sent.has_value()) << sent.error().ToString();
  EXPECT_EQ(sent->user, "real_user");
  EXPECT_EQ(sent->password, "real pass\xc3\xa9");
  EXPECT_EQ(sent->host, "carrel");
  EXPECT_EQ(sent->server, "db.example");
  EXPECT_EQ(sent->database, "records");
  EXPECT_EQ(sent->application, "app");
  EXPECT_LE(sent->packet_size, 32767u);
}

TEST_F(TdsTest, OnlyTheJobsCredentialsAndDatabase) {
  Login7 wrong = SampleLogin();
  wrong.user = "sa";
  Login7 elsewhere = SampleLogin();
  elsewhere.database = "master";
  Login7 integrated = SampleLogin();
  integrated.flags2 = 0x80;
  struct Case {
    const Login7& login;
    const char* password;
    const char* why;
  };
  const Login7 good = SampleLogin();
  for (const Case& c :
       {Case{wrong, "job password", "wrong credentials"},
        Case{good, "job passwore", "wrong credentials"}, Case{good, "", "wrong credentials"},
        Case{elsewhere, "job password", "another database"}}) {
    link = FakeLink();
    session = factory->Make(link);
    SendLogin(c.login, c.password);
    EXPECT_FALSE(link.connects);
    EXPECT_THAT(link.closed, HasSubstr(c.why));
    EXPECT_THAT(Text(link.client), HasSubstr("Login failed"));
    ASSERT_EQ(link.events.size(), 1u);
    EXPECT_EQ(link.events[0].kind, "gateway-refused");
  }
}

// What a client can put into LOGIN7 beyond a user and a password.
TEST_F(TdsTest, LoginsThatAreRefused) {
  const std::string good = WriteLogin7(SampleLogin(), "job password");
  struct Edit {
    size_t at;
    uint8_t byte;
  };
  for (const Edit& edit : {Edit{0, 0x10},      // the length
                           Edit{7, 0x70},      // TDS 7.0
                           Edit{24, 0x01},     // another byte order
                           Edit{25, 0x80},     // integrated security
                           Edit{25, 0x30},     // replication
                           Edit{27, 0x01},     // a new password
                           Edit{40, 0xff},     // a text outside the message
                           Edit{43, 0x7f},     // a longer one
                           Edit{80, 0x08},     // a ticket
                           Edit{84, 0x02}}) {  // a file
    std::string bad = good;
    bad[edit.at] = static_cast<char>(edit.byte);
    link = FakeLink();
    session = factory->Make(link);
    session->FromClient(Packets(kLogin7, bad));
    EXPECT_FALSE(link.connects) << edit.at;
    EXPECT_FALSE(link.closed.empty()) << edit.at;
  }
}

TEST_F(TdsTest, WhatIsNotTdsGoesNowhere) {
  for (const std::string& bytes : {std::string("GET / HTTP/1.1\r\n\r\n"),
                                   std::string("\x16\x03\x01\x00\x10") + std::string(99, 'x'),
                                   Packets(kBatch, Headers() + ToUtf16("SELECT 1")),
                                   std::string("\x12\x01\x00\x04zzzzzzzz", 12)}) {
    link = FakeLink();
    session = factory->Make(link);
    session->FromClient(bytes);
    EXPECT_FALSE(link.closed.empty());
    EXPECT_FALSE(link.connects);
  }
}

TEST_F(TdsTest, TheServersRefusalDoesNotNameTheRealUser) {
  SendLogin();
  session->Connected();
  session->FromServer(Reply(WritePrelogin(Encryption::kNotSupported)));
  const std::string message = "Login failed for user 'real_user'";
  session->FromServer(
      Reply(Sized('\xaa', Little(18456, 4) + "\x01\x0e" + Little(message.size(), 2) +
                              ToUtf16(message) + std::string(2, '\0') + Little(1, 4)) +
            Done(2, 0)));
  EXPECT_THAT(link.closed, HasSubstr("error 18456"));
  EXPECT_THAT(AllText(), Not(HasSubstr("real_user")));
  EXPECT_THAT(AllText(), Not(HasSubstr("real pass")));
}

TEST_F(TdsTest, ADatabaseThatDemandsOrLacksTls) {
  SendLogin();
  session->Connected();
  session->FromServer(Reply(WritePrelogin(Encryption::kRequired)));
  EXPECT_THAT(link.closed, HasSubstr("demands TLS"));
  EXPECT_THAT(Text(link.server), Not(HasSubstr("real_user")));
  upstream.tls = TlsMode::kRequire;
  factory = *MakeTds(upstream, {"job_1", "job password"});
  for (Encryption weaker : {Encryption::kNotSupported, Encryption::kLoginOnly}) {
    link = FakeLink();
    session = factory->Make(link);
    SendLogin();
    session->Connected();
    EXPECT_EQ(*ReadPrelogin(std::string_view(link.server).substr(8)), Encryption::kOn);
    link.server.clear();
    session->FromServer(Reply(WritePrelogin(weaker)));
    EXPECT_THAT(link.closed, HasSubstr("has no TLS"));
    EXPECT_EQ(link.server, "");
  }
}

TEST_F(TdsTest, OverTheLimitTheClientIsTold) {
  SendLogin();
  link.client.clear();
  session->NoRoom("too many connections: 2");
  EXPECT_EQ(static_cast<uint8_t>(link.client[8]), 0xaa);
  EXPECT_EQ(Reader(std::string_view(link.client).substr(11)).U32(), 17809u);
  EXPECT_THAT(Text(link.client), HasSubstr("too many connections: 2"));
  EXPECT_EQ(link.closed, "too many connections: 2");
  EXPECT_EQ(link.server, "");
}

TEST_F(TdsTest, AClientThatDemandsTlsIsToldOfTheSetting) {
  for (Encryption demand : {Encryption::kOn, Encryption::kRequired}) {
    for (const bool tries : {false, true}) {
      link = FakeLink();
      session = factory->Make(link);
      session->FromClient(Packets(kPrelogin, WritePrelogin(demand)));
      EXPECT_EQ(*ReadPrelogin(std::string_view(link.client).substr(8)), Encryption::kNotSupported);
      if (tries) session->FromClient(Packets(kPrelogin, "\x16\x03\x01 a client's hello"));
      session->ClientEnded();
      EXPECT_THAT(link.closed, HasSubstr("encryption = off (FreeTDS)"));
    }
    // One that goes on without TLS is as good as another.
    link = FakeLink();
    session = factory->Make(link);
    session->FromClient(Packets(kPrelogin, WritePrelogin(demand)));
    session->FromClient(Packets(kLogin7, WriteLogin7(SampleLogin(), "job password")));
    EXPECT_TRUE(link.connects);
  }
  link = FakeLink();
  session = factory->Make(link);
  session->FromClient("\x16\x03\x01 a client's hello, at once");
  EXPECT_THAT(link.closed, HasSubstr("encryption = off (FreeTDS)"));
}

TEST_F(TdsTest, BatchesAreLogged) {
  LogIn();
  const std::string text =
      "SELECT n, t FROM x -- \xc3\xa9 \xf0\x9f\x90\x9f" + std::string(1000, 'y');
  const std::string sent = Batch(text);
  // In pieces of every kind: nothing is lost, and all bytes go on as they are.
  for (size_t i = 0; i < sent.size(); i += 7)
    session->FromClient(std::string_view(sent).substr(i, 7));
  EXPECT_EQ(link.server, sent);
  EXPECT_TRUE(session->Busy());
  const std::string reply = Reply(Table(5) + Done(0x10, 5));
  for (char c : reply) session->FromServer({&c, 1});
  EXPECT_EQ(link.client, reply);
  EXPECT_FALSE(session->Busy());
  ASSERT_EQ(link.statements.size(), 1u);
  const Statement& log = link.statements[0];
  EXPECT_EQ(log.text, text);
  EXPECT_STREQ(log.how, "batch");
  EXPECT_EQ(log.rows, 5u);
  EXPECT_EQ(log.tag, "5 rows");
  EXPECT_EQ(log.error, "");
  EXPECT_GE(log.duration_ns, 0);
  EXPECT_GT(log.bytes_out, 0u);
}

TEST_F(TdsTest, LongTextsComeInParts) {
  LogIn();
  std::string text;
  while (text.size() < 200'000) text += "SELECT \xc3\xa9, ";
  session->FromClient(Packets(kBatch, Headers() + ToUtf16(text)));
  session->FromServer(Reply(Done(0, 0)));
  std::string whole;
  for (const Event& event : link.events)
    if (event.kind == "statement-text") whole += std::get<std::string>(event.members[2].second);
  ASSERT_EQ(link.statements.size(), 1u);
  EXPECT_EQ(link.statements[0].part, 3u);
  EXPECT_EQ(whole + link.statements[0].text, text);
}

TEST_F(TdsTest, ErrorsAreLogged) {
  LogIn();
  session->FromClient(Batch("SELEC 1"));
  session->FromServer(Reply(ErrorToken(102) + Done(2, 0)));
  session->FromClient(Batch("SELECT 1"));
  session->FromServer(Reply(Table(1) + Done(0x10, 1)));
  ASSERT_EQ(link.statements.size(), 2u);
  EXPECT_EQ(link.statements[0].error, "102");
  EXPECT_EQ(link.statements[1].error, "");
  EXPECT_EQ(link.statements[1].number, 2u);
}

TEST_F(TdsTest, CallsWithTheirStatementsAndTypes) {
  LogIn();
  const std::string message =
      Headers() + Call(10) + NText("SELECT @p") + NText("@p int") + Int(7) + "\xff" +
      // by name, with its statement as a parameter of any place
      Little(17, 2) + ToUtf16("sys.sp_executesql") + Little(0, 2) + ShortText("@params") +
      NText("@q int").substr(1) + ShortText("@stmt") + NText("SELECT @q").substr(1) +
      ShortText("@q") + Int(8).substr(1);
  session->FromClient(Packets(kRpc, message));
  session->FromServer(Reply(Table(2) + Done(0x11, 2, '\xff') + Done(1, 0, '\xfe') + Table(3) +
                            Done(0x11, 3, '\xff') + Done(0, 0, '\xfe')));
  ASSERT_EQ(link.statements.size(), 2u) << link.closed;
  EXPECT_EQ(link.statements[0].text, "SELECT @p");
  EXPECT_EQ(link.statements[0].name, "sp_executesql");
  EXPECT_THAT(link.statements[0].types, ElementsAre("nvarchar(4000)", "int"));
  EXPECT_EQ(link.statements[0].rows, 2u);
  EXPECT_THAT(link.statements[1].text, HasSubstr("SELECT @q"));
  EXPECT_EQ(link.statements[1].rows, 3u);
  // Values are not logged.
  EXPECT_THAT(AllText(), Not(HasSubstr("\x07")));
}

// A name of 128 characters has the length that older versions have between calls: for a reader that
// took it for that, what follows would be inside a value.
TEST_F(TdsTest, TheLongestNameHidesNoCall) {
  LogIn();
  const std::string evil = "\xff" + Call(10) + NText("SELECT secrets");
  const std::string name = ToUtf16("@" + std::string(127, 'x'));
  session->FromClient(Packets(kRpc, Headers() + Call(10) + NText("SELECT 1") + NText("@p int") +
                                        "\x80" + name + Int(7).substr(1) + evil));
  session->Finished();
  EXPECT_THAT(AllText(), HasSubstr("SELECT secrets")) << link.closed;
}

TEST_F(TdsTest, RequestsThatCanBeReadInTwoWaysGoNowhere) {
  const std::string half = Packets(kBatch, Headers() + ToUtf16("SELECT"), 4096);
  const std::string begun = half.substr(0, 1) + std::string(1, '\0') + half.substr(2);
  for (const std::string odd : {"sp_executesql;1", "sp_executesql\t", "master..[sp_execute\x01]"}) {
    link = FakeLink();
    session = factory->Make(link);
    LogIn();
    session->FromClient(Packets(kRpc, Headers() + Little(odd.size(), 2) + ToUtf16(odd) +
                                          Little(0, 2) + NText("SELECT secrets")));
    EXPECT_THAT(link.closed, HasSubstr("odd name"));
    EXPECT_EQ(link.server, "");
  }
  link = FakeLink();
  session = factory->Make(link);
  LogIn();
  session->FromClient(begun);
  link.server.clear();
  session->FromClient(Packets(kAttention, Headers()));
  EXPECT_THAT(link.closed, HasSubstr("not sent whole"));
  EXPECT_EQ(link.server, "");
}

TEST_F(TdsTest, AMessageThatIsTakenBackHasNoAnswer) {
  LogIn();
  std::string taken_back = Batch("SELECT 'never'");
  taken_back[1] = 3;
  session->FromClient(taken_back + Batch("SELECT 2"));
  session->FromServer(Reply(Table(2) + Done(0x10, 2)));
  ASSERT_EQ(link.statements.size(), 2u);
  EXPECT_EQ(link.statements[0].rows, 0u);
  EXPECT_EQ(link.statements[0].duration_ns, -1);
  EXPECT_EQ(link.statements[1].rows, 2u);
}

TEST_F(TdsTest, PreparedStatements) {
  LogIn();
  session->FromClient(
      Packets(kRpc, Headers() + Call(13) + Int(0) + NText("@p int") + NText("SELECT @p") + Int(1)));
  session->FromServer(Reply("\xac" + Little(0, 2) + ShortText("") + Little(0, 7) + "\x26\x04\x04" +
                            Little(42, 4) + Done(0, 0, '\xfe')));
  session->FromClient(Packets(kRpc, Headers() + Call(12) + Int(42) + Int(2)));
  session->FromServer(Reply(Table(1) + Done(0x11, 1, '\xff') + Done(0, 0, '\xfe')));
  ASSERT_EQ(link.statements.size(), 2u) << link.closed;
  EXPECT_EQ(link.statements[0].text, "SELECT @p");
  EXPECT_EQ(link.statements[1].prepared, 1u);
  EXPECT_STREQ(link.statements[1].how, "execute");
  EXPECT_EQ(link.statements[1].rows, 1u);
}

TEST_F(TdsTest, RequestsThatCarrelCannotReadGoNowhere) {
  const std::string type = std::string(2, '\0') + "\xf3" + std::string(20, '\0');
  for (const std::string& message :
       {Packets(kRpc, Headers() + Call(10) + type),                     // a table
        Packets(kRpc, Headers() + Call(99)),                            // an unknown procedure
        Packets(kRpc, Headers() + Call(10) + NText("x").substr(0, 9)),  // cut short
        Packets(kRpc, Little(1 << 20, 4) + "x"),                        // headers without end
        Packets(kTransaction, Headers() + Little(1, 2)),                // a distributed one
        Packets(0x53, "x"), Packets(kLogin7, WriteLogin7(SampleLogin(), "x")),
        Packets(0x11, "x")}) {
    link = FakeLink();
    session = factory->Make(link);
    LogIn();
    session->FromClient(message);
    EXPECT_FALSE(link.closed.empty());
    EXPECT_EQ(link.server, "");
  }
}

TEST_F(TdsTest, TheSessionStaysInItsDatabase) {
  LogIn();
  session->FromClient(Batch("USE Records; SELECT 1"));
  session->FromServer(Reply(Change(1, "Records") + Done(0, 0)));
  EXPECT_EQ(link.closed, "");
  link.client.clear();
  session->FromClient(Batch("USE master; SELECT 1"));
  session->FromServer(Reply(Change(1, "master") + Table(1) + Done(0x10, 1)));
  EXPECT_THAT(link.closed, HasSubstr("another database"));
  EXPECT_EQ(link.client, "");
  link = FakeLink();
  session = factory->Make(link);
  LogIn();
  session->FromServer(Reply(Change(20, "") + Done(0, 0)));
  EXPECT_THAT(link.closed, HasSubstr("another server"));
}

TEST_F(TdsTest, UnfinishedStatementsAreLoggedAtTheEnd) {
  LogIn();
  session->FromClient(Batch("WAITFOR DELAY '1'"));
  session->Finished();
  ASSERT_EQ(link.statements.size(), 1u);
  EXPECT_EQ(link.statements[0].text, "WAITFOR DELAY '1'");
  EXPECT_LT(link.statements[0].duration_ns, 0);
}

TEST_F(TdsTest, AHostileServersTokensAreNotCounted) {
  LogIn();
  session->FromClient(Batch("SELECT 1"));
  const std::string reply = Reply("\x13" + std::string(100, 'x'));
  session->FromServer(reply);
  EXPECT_EQ(link.client, reply);
  ASSERT_EQ(link.statements.size(), 1u);
  EXPECT_EQ(link.statements[0].tag, "reply not read");
  session->FromServer(Packets(0x0f, "x"));
  EXPECT_FALSE(link.closed.empty());
}

TEST(TdsTexts, Utf16InPieces) {
  const std::string text = "a\xc3\xa9\xf0\x9f\x90\x9f z";
  const std::string utf16 = ToUtf16(text);
  EXPECT_EQ(FromUtf16(utf16), text);
  for (size_t cut = 0; cut <= utf16.size(); ++cut) {
    Utf16Decoder decoder;
    std::string out;
    decoder.Append(utf16.substr(0, cut), out);
    decoder.Append(utf16.substr(cut), out);
    decoder.Finish(out);
    EXPECT_EQ(out, text) << cut;
  }
  EXPECT_EQ(FromUtf16(std::string("\x00\xd8", 2)), "\xef\xbf\xbd");
  EXPECT_EQ(FromUtf16(std::string("\x00\xdc"
                                  "a\0",
                                  4)),
            "\xef\xbf\xbd"
            "a");
  EXPECT_EQ(FromUtf16("a"), "\xef\xbf\xbd");
}

}  // namespace
}  // namespace carrel::gateway
