#include "policy/database_url.h"

#include <gtest/gtest.h>

namespace carrel {
namespace {

TEST(DatabaseUrl, IsReadAsLibpqReadsIt) {
  const auto url = ParseDatabaseUrl("postgresql://a%40b:p%2F%25%20%3a@db.example:6543/st%75dy");
  ASSERT_TRUE(url.has_value()) << url.error().ToString();
  EXPECT_EQ(url->user, "a@b");
  EXPECT_EQ(url->password, "p/% :");
  EXPECT_EQ(url->host, "db.example");
  EXPECT_EQ(url->port, 6543);
  EXPECT_EQ(url->database, "study");
  EXPECT_EQ(url->tls_mode, "verify-full");
  const auto other = ParseDatabaseUrl("postgres://u:p:q@[::1]/d?sslmode=disable");
  ASSERT_TRUE(other.has_value()) << other.error().ToString();
  EXPECT_EQ(other->host, "::1");
  EXPECT_EQ(other->port, 5432);
  EXPECT_EQ(other->password, "p:q");
  EXPECT_EQ(other->tls_mode, "off");
  EXPECT_EQ(ParseDatabaseUrl("postgresql://u:p@[::1]:99/d").value_or(DatabaseUrl()).port, 99);
}

TEST(DatabaseUrl, OthersAreRefusedWithoutAWordOfThem) {
  for (const char* bad : {"",
                          "mysql://u:secret@h/d",
                          "postgresql://h/d",
                          "postgresql://u:secret@h",
                          "postgresql://u:secret@/d",
                          "postgresql://u:secret@h/",
                          "postgresql://:secret@h/d",
                          "postgresql://u@h/secret",
                          "postgresql://u:secret@h:x/d",
                          "postgresql://u:secret@h:0/d",
                          "postgresql://u:secret@h:65536/d",
                          "postgresql://u:secret@h:/d",
                          "postgresql://u:secret%zz@h/d",
                          "postgresql://u:secret%0a@h/d",
                          "postgresql://u:secret%4@h/d",
                          "postgresql://u:secret@[::1/d",
                          "postgresql://u:secret@[::1]x/d",
                          "postgresql://u:secret@h/d?sslmode=prefer",
                          "postgresql://u:secret@h/d?sslmode=disable&x=y",
                          "postgresql://u:secret@h/d?x=y"}) {
    const auto url = ParseDatabaseUrl(bad);
    ASSERT_FALSE(url.has_value()) << bad;
    EXPECT_EQ(url.error().kind, ErrorKind::kBadInput);
    EXPECT_EQ(url.error().ToString().find("secret"), std::string::npos);
  }
}

}  // namespace
}  // namespace carrel
