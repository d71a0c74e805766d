// carrel exec passes on how the command ended, and signals that it gets.
#include "support/jail.h"

namespace carrel::testing_support {
namespace {

using ::testing::HasSubstr;

TEST(ExecStatus, IsPassedOn) {
  Jail jail({"act"});
  for (int status : {0, 1, 7, 70, 126, 127, 255})
    EXPECT_EQ(jail.Run({"--", "/act", "exit", std::to_string(status)}).status, status);
}

TEST(ExecStatus, SignalsAreToldAsAShellDoes) {
  Jail jail({"act"});
  for (int number : {SIGHUP, SIGABRT, SIGKILL, SIGSEGV, SIGTERM, SIGUSR1})
    EXPECT_EQ(jail.Run({"--", "/act", "raise", std::to_string(number)}).status, 128 + number);
}

TEST(ExecStatus, CommandThatIsNotThereIs127) {
  Jail jail({"act"});
  for (const char* command : {"/missing", "missing", "/act/below"}) {
    const Outcome outcome = jail.Run({"--", command});
    EXPECT_EQ(outcome.status, 127) << command;
    EXPECT_THAT(outcome.err, HasSubstr(command));
  }
  EXPECT_THAT(jail.RunsLeft(), ::testing::IsEmpty());
}

TEST(ExecStatus, CommandThatCannotBeExecutedIs126) {
  Jail jail({"act"});
  WriteFile(jail.rootfs() + "/text", "no program", 0755);
  WriteFile(jail.rootfs() + "/data", "no program", 0644);
  for (const char* command : {"/text", "/data", "/"}) {
    const Outcome outcome = jail.Run({"--", command});
    EXPECT_EQ(outcome.status, 126) << command;
    EXPECT_THAT(outcome.err, HasSubstr(command));
  }
}

TEST(ExecStatus, CommandIsFoundOnPath) {
  Jail jail({});
  std::filesystem::create_directories(jail.rootfs() + "/usr/bin");
  jail.AddProgram(Payload("act"), "/usr/bin/act");
  EXPECT_EQ(jail.Run({"--", "act", "exit", "5"}).status, 5);
  EXPECT_EQ(jail.Run({"--env", "PATH=/nowhere", "--", "act", "exit", "5"}).status, 127);
}

TEST(ExecStatus, SignalsOfCarrelReachTheAction) {
  Jail jail({"act"});
  for (int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) {
    const std::string id = "signal" + std::to_string(number);
    Process carrel = jail.Start({"--id", id, "--", "/act", "sleep"});
    ASSERT_TRUE(Eventually([&] { return carrel.Out() == "ready\n"; })) << carrel.Err();
    ::kill(carrel.pid(), number);
    EXPECT_EQ(carrel.Wait(), 128 + number);
    jail.ExpectNothingLeft(id);
  }
  Process handled = jail.Start({"--", "/act", "term-9"});
  ASSERT_TRUE(Eventually([&] { return handled.Out() == "ready\n"; })) << handled.Err();
  ::kill(handled.pid(), SIGTERM);
  EXPECT_EQ(handled.Wait(), 9);
}

}  // namespace
}  // namespace carrel::testing_support
