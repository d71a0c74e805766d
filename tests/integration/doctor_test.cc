// carrel doctor: every part has its line, and what it advises fits what is wrong.
#include <filesystem>

#include "support/jail.h"

namespace carrel::testing_support {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Doctor : public testing::Test {
 protected:
  Doctor() : jail_({"act"}) {}
  Json Findings(std::vector<std::string> options, int status, const StartOptions& start = {}) {
    options.insert(options.begin(), {"doctor", "--json"});
    Process doctor = jail_.StartCarrel(options, start);
    EXPECT_EQ(doctor.Wait(), status) << doctor.Out() << doctor.Err();
    auto report = ParseJson(doctor.Out(), "report");
    EXPECT_TRUE(report.has_value()) << doctor.Out() << doctor.Err();
    errors_ = doctor.Err();
    Json by_name;
    if (report)
      for (const Json& finding : (*report)["findings"]) by_name[finding["name"]] = finding;
    return by_name;
  }
  static void ExpectAllLines(const Json& findings) {
    for (const char* name :
         {"root", "kernel", "configuration", "policy", "databases", "repositories", "level 3",
          "level 4", "state directory", "disk", "cgroups", "landlock", "device nodes", "seccomp",
          "audit (BPF)", "loop devices", "git", "mkfs.ext4", "mmdebstrap"})
      EXPECT_TRUE(findings.contains(name)) << name;
  }
  Jail jail_;
  std::string errors_;
};

TEST_F(Doctor, WithoutConfigurationNothingFollowsFromDefaults) {
  const Json findings = Findings({"--state", jail_.state(), "--config", jail_ / "none.json"}, 1);
  ExpectAllLines(findings);
  EXPECT_EQ(findings["configuration"]["state"], "missing");
  EXPECT_THAT(findings["configuration"]["remedy"], HasSubstr("--config"));
  for (const char* name : {"policy", "databases", "repositories"}) {
    EXPECT_EQ(findings[name]["state"], "unknown");
    EXPECT_EQ(findings[name]["detail"], "not checked, because there is no configuration");
  }
  EXPECT_EQ(findings["state directory"]["state"], "missing");
  EXPECT_THAT(findings["state directory"]["remedy"], HasSubstr("mkdir " + jail_.state()));
  EXPECT_EQ(findings["audit (BPF)"]["detail"], "not checked, because there is no state directory");
  EXPECT_FALSE(std::filesystem::exists(jail_.state()));
}

TEST_F(Doctor, NothingStaysMounted) {
  std::filesystem::create_directory(jail_.state());
  const Json findings = Findings({"--state", jail_.state(), "--config", jail_ / "none.json"}, 1);
  EXPECT_EQ(findings["audit (BPF)"]["state"], "ok") << findings["audit (BPF)"].dump();
  EXPECT_THAT(ReadText("/proc/self/mountinfo"), Not(HasSubstr(jail_.state())));
}

TEST_F(Doctor, DatabasesAndLevelsAreTried) {
  const std::string password = jail_ / "password", config = jail_ / "config.json";
  WriteFile(password, "user:word");
  ASSERT_EQ(::chmod(password.c_str(), 0644), 0);
  const Json server = {
      {"kind", "postgresql"},  {"host", "127.0.0.1"},      {"port", 5432},
      {"database", "records"}, {"tls", {{"mode", "off"}}}, {"credentials", {{"file", password}}}};
  Json document = {{"databases", {{"open", server}}}, {"high_privacy", "/proc/self/status"}};
  WriteFile(config, document.dump());
  Json findings = Findings({"--state", jail_.state(), "--config", config}, 1);
  EXPECT_EQ(findings["database open"]["state"], "missing") << findings["database open"].dump();
  EXPECT_EQ(findings["level 3"]["state"], "missing");
  ASSERT_EQ(::chmod(password.c_str(), 0600), 0);
  findings = Findings({"--state", jail_.state(), "--config", config}, 1);
  EXPECT_EQ(findings["database open"]["state"], "ok") << findings["database open"].dump();

  document["medium_privacy"] = document["high_privacy"] = jail_ / "levels";
  WriteFile(config, document.dump());
  findings = Findings({"--state", jail_.state(), "--config", config}, 1);
  EXPECT_THAT(findings["configuration"]["detail"], HasSubstr("are not apart"));
}

TEST_F(Doctor, AConfigurationThatIsWrong) {
  WriteFile(jail_ / "bad.json", "{\"stat\": 1}");
  Json findings = Findings({"--state", jail_.state(), "--config", jail_ / "bad.json"}, 1);
  EXPECT_EQ(findings["configuration"]["state"], "missing");
  EXPECT_THAT(findings["state directory"]["detail"], HasSubstr(jail_.state()));
  EXPECT_THAT(findings["configuration"]["detail"], HasSubstr("stat"));
  EXPECT_EQ(findings["policy"]["detail"], "not checked, because the configuration is not valid");
  // Which directory it names is not known: no other is advised.
  findings = Findings({"--config", jail_ / "bad.json"}, 1);
  EXPECT_EQ(findings["state directory"]["detail"],
            "not checked, because the configuration is not valid");
  EXPECT_EQ(findings["audit (BPF)"]["state"], "unknown");
}

TEST_F(Doctor, AStateDirectoryThatCannotBeWritten) {
  const std::string state = jail_ / "state-disk";
  std::filesystem::create_directory(state);
  ASSERT_EQ(::mount("none", state.c_str(), "tmpfs", 0, "size=64k"), 0);
  ASSERT_EQ(::mount("none", state.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, "size=64k"), 0);
  Json findings = Findings({"--state", state}, 1);
  EXPECT_EQ(findings["state directory"]["state"], "missing");
  EXPECT_THAT(findings["state directory"]["remedy"], HasSubstr("writable"));
  for (const char* name : {"device nodes", "seccomp", "audit (BPF)"})
    EXPECT_THAT(findings[name]["detail"], HasSubstr("nothing can be written"));

  ASSERT_EQ(::mount("none", state.c_str(), "tmpfs", MS_REMOUNT, "size=64k"), 0);
  (void)RunSubprocess({"dd", "if=/dev/zero", "of=" + state + "/full", "bs=4k"}).has_value();
  findings = Findings({"--state", state}, 1);
  EXPECT_THAT(findings["state directory"]["detail"], HasSubstr("ENOSPC"));
  EXPECT_THAT(findings["disk"]["detail"], HasSubstr("0 B free"));
  EXPECT_EQ(::umount2(state.c_str(), MNT_DETACH), 0);
}

TEST_F(Doctor, WithoutRootItSaysWhatIsNeeded) {
  StartOptions start;
  start.binary = jail_ / "carrel";  // the build directory may be closed to others
  std::filesystem::copy_file(CARREL_BINARY, start.binary);
  start.before = [] {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(124);
  };
  const Json findings =
      Findings({"--state", jail_.state(), "--config", jail_ / "none.json"}, 2, start);
  ExpectAllLines(findings);
  EXPECT_EQ(findings["root"]["state"], "missing");
  for (const char* name : {"loop devices", "state directory", "cgroups"}) {
    EXPECT_EQ(findings[name]["detail"], "not checked, because this process is not root");
    EXPECT_EQ(findings[name]["remedy"], "");
  }
  EXPECT_THAT(errors_, HasSubstr("carrel doctor: "));
  EXPECT_THAT(errors_, HasSubstr("must be run as root"));
}

}  // namespace
}  // namespace carrel::testing_support
