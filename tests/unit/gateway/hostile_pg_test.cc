// PostgreSQL servers that attack.
#include <gmock/gmock.h>

#include "gateway/pg_wire.h"
#include "unit/gateway/hostile.h"

namespace carrel::gateway {
namespace {

using testing::HasSubstr;

using HostilePostgres = HostileServers;

std::string ReadMessage(int fd, bool typed) {
  const std::string header = ReceiveUpTo(fd, typed ? 5 : 4);
  if (header.size() < (typed ? 5u : 4u)) return "";
  const uint32_t length = pg::ReadU32(std::string_view(header).substr(typed ? 1 : 0));
  return header + ReceiveUpTo(fd, length - 4);
}

void LogIn(int fd) {
  const std::string body = pg::U32(pg::kVersion3) + "user" + '\0' + "job_1" + '\0' + "database" +
                           '\0' + "records" + '\0' + '\0';
  EXPECT_TRUE(SendAll(fd, pg::U32(static_cast<uint32_t>(body.size() + 4)) + body));
  (void)ReadMessage(fd, true);
  EXPECT_TRUE(SendAll(fd, pg::Message('p', std::string("job password") + '\0')));
}

// Up to the end of the login, and the statement.
std::string Ask(int fd) {
  LogIn(fd);
  std::string all;
  for (std::string message; message.empty() || message[0] != 'Z'; all += message) {
    message = ReadMessage(fd, true);
    if (message.empty() || message[0] == 'E') return all + message;
  }
  (void)SendAll(fd, pg::Message('Q', std::string("select 1") + '\0'));
  return all;
}

std::string AskAndRead(int fd) {
  const std::string all = Ask(fd);
  return all + ReceiveUpTo(fd, 1u << 20);
}
std::string AskAndDrop(int fd) {
  (void)Ask(fd);
  EXPECT_TRUE(EndsSoon(fd));
  return "";
}
std::string LogInAndDrop(int fd) {
  LogIn(fd);
  EXPECT_TRUE(EndsSoon(fd));
  return "";
}

const std::string kOk = pg::Message('R', pg::U32(0));
const std::string kIdle = pg::Message('Z', "I");
std::string Parameter(const std::string& name, const std::string& value) {
  return pg::Message('S', name + '\0' + value + '\0');
}

// Answers the startup message with `login`, and a query with `answer`.
std::function<void(int)> Postgres(std::string login, std::string answer, bool again = false) {
  return [=](int fd) {
    if (ReadMessage(fd, false).empty() || !SendAll(fd, login)) return;
    if (!answer.empty()) {
      if (ReadMessage(fd, true).empty()) return;
      std::string much = answer;
      while (again && much.size() < 60'000) much += answer;
      for (size_t sent = 0; SendAll(fd, much) && again && sent < kAll; sent += much.size()) {
      }
    }
    if (!again) (void)EndsSoon(fd);
  };
}

TEST_F(HostilePostgres, PostgresLogins) {
  struct Case {
    const char* what;
    std::string login;
    const char* log;
  };
  const Case cases[] = {
      {"no answer", "", "the login took too long"},
      {"half a message", kOk.substr(0, 7), "the login took too long"},
      {"an empty demand", pg::Message('R', ""), "is malformed"},
      {"a length below its own", std::string("R\0\0\0\3", 5), "doesn't speak PostgreSQL's"},
      {"a length without end", std::string("R\xff\xff\xff\xff", 5), "doesn't speak PostgreSQL's"},
      {"another protocol", "HTTP/1.1 400 Bad Request\r\n\r\n", "doesn't speak PostgreSQL's"},
      {"TLS out of the blue", "S\x16\x03\x01", "the login took too long"},
      {"two logins", kOk + kOk, "doesn't belong into a login"},
      {"a demand after the login", kOk + pg::Message('R', pg::U32(3)), "doesn't belong"},
      {"ready before the login", kIdle, "doesn't belong into a login"},
      {"rows before the login", pg::Message('D', std::string(2, '\0')), "doesn't belong"},
      {"rows in it", kOk + pg::Message('D', std::string(2, '\0')), "doesn't belong"},
      {"two keys", kOk + pg::Message('K', "12345678") + pg::Message('K', "12345678"), "key"},
      {"half a key", kOk + pg::Message('K', "1234"), "cancel key is malformed"},
      {"a copy", kOk + pg::Message('G', std::string(3, '\0')), "doesn't belong into a login"},
      {"never ready", kOk + Parameter("server_version", "15.0"), "the login took too long"},
      {"never ready again", kOk + Parameter("server_version", "15.0") + kIdle, "took too long"},
      {"SCRAM without its end", pg::Message('R', pg::U32(10) + "SCRAM-SHA-256" + '\0' + '\0') + kOk,
       "did not prove"},
      {"SCRAM's middle alone", pg::Message('R', pg::U32(11) + "r=x,s=eA==,i=1"), "no beginning"},
      {"the password in clear", pg::Message('R', pg::U32(3)), "in clear, without TLS"},
      {"the real user in an error",
       pg::Message('E',
                   std::string("C28000") + '\0' + "Mno real_user real-pass-word" + '\0' + '\0'),
       "28000"},
      {"an error without end", pg::Message('E', std::string(60'000, 'M')), "gateway-login-failed"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    const Outcome outcome = Play("postgresql", Postgres(c.login, ""), AskAndRead);
    EXPECT_THAT(outcome.log, HasSubstr(c.log));
    if (std::string(c.log).find("took too long") == std::string::npos) {
      EXPECT_THAT(outcome.client, HasSubstr("FATAL"));
    }
  }
}

TEST_F(HostilePostgres, PostgresStreamsThatNeverEnd) {
  const std::string notice = pg::Message('N', std::string("Mnotice") + '\0' + '\0');
  for (const std::string& piece : {notice, Parameter("a", "b")}) {
    auto endless = [&](int fd) {
      if (ReadMessage(fd, false).empty() || !SendAll(fd, kOk)) return;
      std::string much;
      while (much.size() < 60'000) much += piece;
      while (SendAll(fd, much)) ::usleep(1000);
    };
    const Outcome outcome = Play("postgresql", endless, LogInAndDrop);
    EXPECT_THAT(outcome.log, HasSubstr("the login took too long"));
  }
  const std::string columns = pg::Message('T', "\xff\xff" + std::string(5000, 'c'));
  const std::string row = pg::Message('D', std::string(2, '\0'));
  const std::string types = pg::Message('t', "\xff\xff" + std::string(2000, '\0'));
  const std::string error = pg::Message('E', std::string("C42601") + '\0' + '\0');
  for (const std::string& piece :
       {columns, row, types, error, kIdle, notice, pg::Message('C', std::string("SELECT 1") + '\0'),
        pg::Message('G', std::string(3, '\0')), pg::Message('1', "")}) {
    const Outcome outcome = Play("postgresql", Postgres(kOk + kIdle, piece, true), AskAndDrop);
    EXPECT_THAT(outcome.log, HasSubstr("\"text\":\"select 1\"")) << piece[0];
    EXPECT_LT(outcome.log.size(), 20'000u) << piece[0];
    EXPECT_LT(outcome.grown, kBound) << piece[0];
  }
}

TEST_F(HostilePostgres, PostgresAnswersToStatements) {
  struct Case {
    const char* what;
    std::string answer;
    const char* log;
  };
  const Case cases[] = {
      {"a length below its own", std::string("D\0\0\0\3", 5), "the database doesn't speak"},
      {"a length without end", std::string("D\xff\xff\xff\xff", 5), "the database doesn't speak"},
      {"another login", kOk, "the database doesn't speak"},
      {"another key", pg::Message('K', "12345678"), "the database doesn't speak"},
      {"a replication stream", pg::Message('W', std::string(3, '\0')),
       "the database doesn't speak"},
      {"TLS", "\x16\x03\x01\x02 and more", "the database doesn't speak"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    const Outcome outcome = Play("postgresql", Postgres(kOk + kIdle, c.answer), AskAndRead);
    EXPECT_THAT(outcome.log, HasSubstr(c.log));
    EXPECT_THAT(outcome.log, HasSubstr("\"text\":\"select 1\""));
  }
}

// Answers to the request for TLS.
TEST_F(HostilePostgres, PostgresTlsIsNotGivenUp) {
  tls_ = TlsMode::kRequire;
  for (const char* answer : {"N", "S and plain text behind it", "E", "\x16", "SS"}) {
    const Outcome outcome = Play("postgresql", Postgres(answer, ""), AskAndRead);
    EXPECT_THAT(outcome.log, HasSubstr("gateway-login-failed")) << answer;
    EXPECT_THAT(outcome.client, HasSubstr("FATAL")) << answer;
  }
  // TLS that is none.
  const Outcome outcome = Play(
      "postgresql",
      [](int fd) {
        (void)ReadMessage(fd, false);
        (void)SendAll(fd, "S");
        (void)ReceiveUpTo(fd, 5);
        (void)SendAll(fd, "HTTP/1.1 400 Bad Request\r\n\r\n");
        (void)EndsSoon(fd);
      },
      AskAndRead);
  EXPECT_THAT(outcome.log, HasSubstr("gateway-login-failed"));
  EXPECT_THAT(outcome.client, HasSubstr("FATAL"));
}

}  // namespace
}  // namespace carrel::gateway
