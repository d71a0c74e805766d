#include "job/await_database.h"

#include <gtest/gtest.h>

#include "support/temp_dir.h"

namespace carrel {
namespace {

using testing_support::TempDir;
using testing_support::WriteFile;

class AwaitDatabaseTest : public ::testing::Test {
 protected:
  void Configure(const Json& more) {
    Json database = {{"kind", "sqlite"}, {"path", "/srv/db"}};
    database.update(more);
    WriteFile(dir_ / "carrel.json",
              Json{{"state", dir_ / "state"}, {"databases", {{"default", database}}}}.dump());
  }
  Result<UniqueFd> Await() {
    auto host = LoadHostConfig(dir_ / "carrel.json");
    EXPECT_TRUE(host.has_value());
    return AwaitDatabase(*host, "default", [this](const std::string& why) {
      reasons_.push_back(why);
      if (while_waiting_) while_waiting_();
    });
  }
  TempDir dir_;
  std::vector<std::string> reasons_;
  std::function<void()> while_waiting_;
};

TEST_F(AwaitDatabaseTest, AtOnceWhereNothingIsInTheWay) {
  Configure(Json::object());
  auto place = Await();
  ASSERT_TRUE(place.has_value());
  EXPECT_FALSE(*place);
  EXPECT_TRUE(reasons_.empty());
}

TEST_F(AwaitDatabaseTest, MaintenanceEndsByTheOperatorsSwitch) {
  Configure({{"maintenance", "wait"}});
  while_waiting_ = [this] { Configure({{"maintenance", "off"}}); };
  EXPECT_TRUE(Await().has_value());
  EXPECT_EQ(reasons_, std::vector<std::string>{"the database default is in maintenance"});
  Configure({{"maintenance", "wait"}});
  while_waiting_ = [this] { Configure({{"maintenance", "refuse"}}); };
  auto refused = Await();
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, ErrorKind::kRefused);
  EXPECT_EQ(refused.error().code, EAGAIN);
}

TEST_F(AwaitDatabaseTest, AsManyJobsAsTheConfigurationSays) {
  Configure({{"max_jobs", 2}});
  auto first = Await();
  auto second = Await();
  ASSERT_TRUE(first.has_value() && second.has_value());
  EXPECT_TRUE(*first && *second);
  EXPECT_TRUE(reasons_.empty());
  while_waiting_ = [&] { first->reset(); };
  auto third = Await();
  ASSERT_TRUE(third.has_value());
  EXPECT_TRUE(*third);
  EXPECT_EQ(reasons_, std::vector<std::string>{"all places of the database default are taken"});
}

TEST_F(AwaitDatabaseTest, AFileThatIsHalfWrittenChangesNothing) {
  Configure({{"maintenance", "wait"}});
  while_waiting_ = [this] {
    if (reasons_.size() == 1) return WriteFile(dir_ / "carrel.json", "{\"databases\"");
    Configure(Json::object());
  };
  EXPECT_TRUE(Await().has_value());
  EXPECT_EQ(reasons_.size(), 2u);
}

}  // namespace
}  // namespace carrel
