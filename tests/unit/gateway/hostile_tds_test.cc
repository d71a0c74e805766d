// TDS servers that attack.
#include <gmock/gmock.h>

#include "unit/gateway/hostile.h"
#include "unit/gateway/tds_tokens.h"

namespace carrel::gateway {
namespace {

using testing::HasSubstr;
using testing::Not;
using namespace tds_tokens;  // NOLINT: the whole vocabulary of the protocol

using HostileTds = HostileServers;

std::string ReadPacket(int fd) {
  const std::string header = ReceiveUpTo(fd, kHeaderBytes);
  if (header.size() < kHeaderBytes) return "";
  const size_t size =
      static_cast<size_t>(static_cast<uint8_t>(header[2])) << 8 | static_cast<uint8_t>(header[3]);
  return header + ReceiveUpTo(fd, size - kHeaderBytes);
}

std::string LogInAndAsk(int fd) {
  EXPECT_TRUE(SendAll(fd, Packets(kPrelogin, WritePrelogin(Encryption::kNotSupported))));
  (void)ReadPacket(fd);
  EXPECT_TRUE(SendAll(fd, Packets(kLogin7, WriteLogin7(SampleLogin(), "job password"))));
  std::string login = ReadPacket(fd);
  // An error, or the statement.
  if (login.find("\xad") != login.npos) (void)SendAll(fd, Batch("SELECT 1"));
  return login;
}

std::string LogInAskAndRead(int fd) {
  std::string all = LogInAndAsk(fd);
  return all + ReceiveUpTo(fd, 1u << 20);
}
std::string LogInAskAndDrop(int fd) {
  (void)LogInAndAsk(fd);
  EXPECT_TRUE(EndsSoon(fd));
  return "";
}

std::string Plain(const std::string& utf16) {
  std::string text;
  for (const char c : utf16)
    if (c != '\0') text += c;
  return text;
}

// The server's answers to PRELOGIN, LOGIN7 and a statement; then it waits for the end.
std::function<void(int)> Answers(std::vector<std::string> answers) {
  return [answers = std::move(answers)](int fd) {
    for (const std::string& answer : answers) {
      if (ReadPacket(fd).empty() || !SendAll(fd, answer)) return;
    }
    (void)EndsSoon(fd);
  };
}

const std::string& NoTls() {
  static const std::string kText = Reply(WritePrelogin(Encryption::kNotSupported));
  return kText;
}
std::string Routing() {
  return Sized('\xe3', "\x14" + Little(7, 2) + std::string(1, '\0') + Little(1433, 2) +
                           Little(4, 2) + ToUtf16("evil") + Little(0, 2));
}
std::string Begun(std::string packet) {
  packet[1] = 0;  // not the last of its message
  return packet;
}

TEST_F(HostileTds, TdsLogins) {
  struct Case {
    const char* what;
    std::vector<std::string> answers;
    const char* log;
  };
  const std::string silence;
  const std::string good = Change(1, "records") + LoginAck() + Done(0, 0);
  const std::string cut = LoginAck().substr(0, 9);
  const std::string long_ack = "\xad\xff\xff" + LoginAck().substr(3);
  const Case cases[] = {
      {"no PRELOGIN", {Reply(good)}, "doesn't speak TDS"},
      {"an empty PRELOGIN", {Reply("")}, "doesn't speak TDS"},
      {"a PRELOGIN that is cut", {Reply(std::string("\x01\x00\x06", 3))}, "doesn't speak TDS"},
      {"options beyond its end",
       {Reply(std::string("\x01\xff\xff\x00\x01\xff", 6))},
       "doesn't speak TDS"},
      {"encryption of no kind",
       {Reply(std::string("\x01\x00\x06\x00\x01\xff\x09", 7))},
       "doesn't speak TDS"},
      {"a packet of a request", {Packets(kLogin7, "x")}, "doesn't speak TDS"},
      {"a packet of no length", {std::string("\x04\x01\x00\x00\x00\x00\x00\x00", 8)}, "speak TDS"},
      {"another protocol", {"HTTP/1.1 400 Bad Request\r\n\r\n"}, "doesn't speak TDS"},
      {"PRELOGIN for ever", {Begun(Reply("x"))}, "the login took too long"},
      {"TLS after all, in packets",
       {NoTls(), Reply(WritePrelogin(Encryption::kRequired))},
       "refused carrel's login"},
      {"TLS after all, at once", {NoTls(), "\x16\x03\x01\x02 and more"}, "doesn't speak TDS"},
      {"no answer", {NoTls(), silence}, "the login took too long"},
      {"an answer without end", {NoTls(), Begun(Reply(good))}, "the login took too long"},
      {"an end alone", {NoTls(), Reply(Done(0, 0))}, "refused carrel's login"},
      {"a cut LOGINACK", {NoTls(), Reply(cut)}, "refused carrel's login"},
      {"a LOGINACK beyond its packet", {NoTls(), Reply(long_ack)}, "refused carrel's login"},
      {"an odd version", {NoTls(), Reply(LoginAck(0x99) + Done(0, 0))}, "refused carrel's login"},
      {"two LOGINACKs", {NoTls(), Reply(LoginAck() + good)}, "answers the login twice"},
      {"rows first", {NoTls(), Reply(Table(3) + good)}, "answers the login with rows"},
      {"rows in it", {NoTls(), Reply(LoginAck() + Table(1) + Done(0, 1))}, "with rows"},
      {"rows of nothing", {NoTls(), Reply("\xd1 a row" + good)}, "refused carrel's login"},
      {"another server", {NoTls(), Reply(Routing() + good)}, "to another server"},
      {"another server, later", {NoTls(), Reply(good + Routing() + Done(0, 0))}, "another server"},
      {"an ENVCHANGE of nothing", {NoTls(), Reply(Sized('\xe3', "") + good)}, "doesn't speak TDS"},
      {"65534 columns",
       {NoTls(), Reply("\x81\xfe\xff" + std::string(2000, '\x30') + good)},
       "refused carrel's login"},
      {"an unknown token", {NoTls(), Reply("\x13 what" + good)}, "refused carrel's login"},
      {"texts that hold the real user",
       {NoTls(),
        Reply(Sized('\xaa', Little(18456, 4) + "\x01\x0e" + Little(9, 2) + ToUtf16("real_user") +
                                std::string(2, '\0') + Little(1, 4)) +
              Done(2, 0))},
       "error 18456"},
      {"features without end", {NoTls(), Reply("\xae\x01\xff\xff\xff\xff")}, "refused"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    const Outcome outcome = Play("mssql", Answers(c.answers), LogInAskAndRead);
    EXPECT_THAT(outcome.log, HasSubstr(c.log));
    EXPECT_THAT(outcome.log, Not(HasSubstr("gateway-login ")));
    // Those that end by the clock are only ended.
    if (std::string(c.log) != "the login took too long") {
      ASSERT_GT(outcome.client.size(), 8u);
      EXPECT_EQ(outcome.client[8], '\xaa');
      EXPECT_THAT(Plain(outcome.client), HasSubstr("carrel: "));
      EXPECT_THAT(Plain(outcome.client), Not(HasSubstr("real_user")));
    }
  }
}

// Sends `piece` again and again after the login, until nobody takes it.
std::function<void(int)> ForEver(std::vector<std::string> answers, const std::string& piece) {
  return [answers = std::move(answers), piece](int fd) {
    for (const std::string& answer : answers)
      if (ReadPacket(fd).empty() || !SendAll(fd, answer)) return;
    std::string much;
    while (much.size() < 60'000) much += piece;
    for (size_t sent = 0; sent < kAll && SendAll(fd, much); sent += much.size()) {
    }
  };
}

TEST_F(HostileTds, TdsStreamsThatNeverEnd) {
  const std::string good = Reply(Change(1, "records") + LoginAck() + Done(0, 0));
  const std::string in_login[] = {Begun(Reply("")), Begun(Reply(ErrorToken(1))),
                                  Begun(Reply(Change(2, "x"))), Begun(Reply(Table(100)))};
  for (const std::string& piece : in_login) {
    const Outcome outcome = Play("mssql", ForEver({NoTls()}, piece), LogInAskAndDrop);
    EXPECT_THAT(outcome.log, HasSubstr("gateway-close"));
    EXPECT_THAT(outcome.log, Not(HasSubstr("gateway-login ")));
    EXPECT_LT(outcome.grown, kBound);
  }
  // Afterwards the client takes what comes, and the gateway keeps none of it. The last item never
  // becomes whole.
  const std::string column = Begun(Reply(Table(0).substr(0, 12)));
  const std::string rows = Begun(Reply(Table(100)));
  const std::string errors = Begun(Reply(ErrorToken(1) + ErrorToken(2)));
  const std::string xml = Begun(Reply("\xac" + std::string(3, '\0') + std::string(7, '\0') +
                                      "\xf1\x01\x01x\x01x\xff\xff" + std::string(2000, 'x')));
  for (const std::string& piece :
       {rows, errors, column, xml, Begun(Reply(std::string(500, '\0')))}) {
    const Outcome outcome = Play("mssql", ForEver({NoTls(), good}, piece), LogInAskAndDrop);
    EXPECT_THAT(outcome.log, HasSubstr("\"text\":\"SELECT 1\""));
    EXPECT_LT(outcome.grown, kBound);
  }
}

TEST_F(HostileTds, TdsAnswersToStatements) {
  const std::string good = Reply(Change(1, "records") + LoginAck() + Done(0, 0));
  struct Case {
    const char* what;
    std::string answer;
    const char* log;
  };
  const Case cases[] = {
      {"another server", Reply(Routing() + Done(0, 0)), "to another server"},
      {"another server, between rows", Reply(Table(2) + Routing() + Done(0, 0)), "another server"},
      {"another database", Reply(Change(1, "master") + Done(0, 0)), "another database"},
      {"a packet of no length", std::string("\x04\x01\x00\x07\x00\x00\x00\x00", 8), "speak TDS"},
      {"a PRELOGIN packet", Packets(kPrelogin, WritePrelogin(Encryption::kOn)), "of type 18"},
      {"TLS", "\x16\x03\x01\x02 and more", "doesn't speak TDS"},
      {"a request of the server's own", Packets(kBatch, "x"), "of type 1"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    const Outcome outcome = Play("mssql", Answers({NoTls(), good, c.answer}), LogInAskAndRead);
    EXPECT_THAT(outcome.log, HasSubstr(c.log));
    EXPECT_THAT(outcome.log, HasSubstr("\"text\":\"SELECT 1\""));
    EXPECT_THAT(Plain(outcome.client), Not(HasSubstr("evil")));
  }
}

}  // namespace
}  // namespace carrel::gateway
