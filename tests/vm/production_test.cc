// What production hosts have and development machines may not: pure cgroup v2 under systemd, and
// Debian's stock kernel. These tests run inside the virtual machine of tests/support/vm.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/landlock.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <regex>
#include <thread>

#include "support/carrel.h"

namespace carrel::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kCgroups = "/sys/fs/cgroup";

std::string Text(const std::string& path) { return ReadFile(path).value_or("(" + path + ")"); }

bool WaitFor(const std::function<bool()>& done) {
  for (int i = 0; i < 3000; ++i) {
    if (done()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

/// A root file system of busybox, and runs in it.
class Production : public ::testing::Test {
 protected:
  Production() {
    std::filesystem::create_directories(root() + "/bin");
    std::filesystem::copy_file("/bin/busybox", root() + "/bin/busybox");
    for (const char* applet : {"sh", "cat", "dd", "echo", "hostname", "id", "ls", "mount",
                               "readlink", "sleep", "stat", "tail", "touch", "true", "unshare"})
      std::filesystem::create_symlink("busybox", root() + "/bin/" + applet);
  }
  ~Production() override {
    if (std::filesystem::exists(state() + "/bpf"))
      EXPECT_EQ(Carrel({"audit", "unload"}).exit_code, 0);
    RunSubprocess({"umount", state() + "/bpf"}).has_value();
  }

  std::string root() const { return dir_ / "rootfs"; }
  std::string state() const { return dir_ / "state"; }

  SubprocessResult Carrel(std::vector<std::string> args) {
    args.insert(args.end(), {"--state", state()});
    return RunCarrel(args);
  }

  std::vector<std::string> ExecArgs(std::vector<std::string> command,
                                    std::vector<std::string> options = {}) const {
    std::vector<std::string> args = {"exec", "--state", state(), "--rootfs", root()};
    args.insert(args.end(), options.begin(), options.end());
    args.push_back("--");
    args.insert(args.end(), command.begin(), command.end());
    return args;
  }

  SubprocessResult Exec(std::vector<std::string> command, std::vector<std::string> options = {}) {
    return RunCarrel(ExecArgs(std::move(command), std::move(options)));
  }
  SubprocessResult Shell(const std::string& script, std::vector<std::string> options = {}) {
    return Exec({"sh", "-c", script}, std::move(options));
  }

  /// Starts carrel exec and returns when its action has been executed.
  pid_t StartSleep(const std::string& id, std::vector<std::string> options = {}) {
    options.insert(options.end(), {"--id", id});
    std::vector<std::string> args = ExecArgs({"sleep", "1000"}, options);
    args.insert(args.begin(), CARREL_BINARY);
    std::vector<char*> raw;
    for (std::string& arg : args) raw.push_back(arg.data());
    raw.push_back(nullptr);
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::execv(raw[0], raw.data());
      ::_exit(125);
    }
    EXPECT_TRUE(WaitFor([&] { return CommandsIn(id).find("sleep") != std::string::npos; }));
    return pid;
  }

  /// Names of the programs that run in the cgroup of a run.
  static std::string CommandsIn(const std::string& id) {
    std::istringstream pids(ReadFile(Cgroup(id) + "/cgroup.procs").value_or(""));
    std::string names;
    for (std::string pid; pids >> pid;) names += ReadFile("/proc/" + pid + "/comm").value_or("");
    return names;
  }

  /// Of a run of any state directory; a path that does not exist when there is none.
  static std::string Cgroup(const std::string& id) {
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(kCgroups + "/carrel", none))
      if (const std::string name = entry.path().filename();
          name.starts_with(id + "-") && name.size() == id.size() + 9)
        return entry.path();
    return kCgroups + "/carrel/" + id;
  }

  static int End(pid_t pid, int signal) {
    ::kill(pid, signal);
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  TempDir dir_;
};

// Without these the other tests would prove nothing.
TEST_F(Production, IsPureCgroup2UnderSystemdOnDebiansKernel) {
  struct statfs info {};
  ASSERT_EQ(::statfs(kCgroups.c_str(), &info), 0);
  EXPECT_EQ(static_cast<unsigned long>(info.f_type), CGROUP2_SUPER_MAGIC);
  EXPECT_THAT(Text("/proc/mounts"), Not(HasSubstr(" cgroup ")));
  EXPECT_EQ(Text("/proc/1/comm"), "systemd\n");
  utsname name{};
  ::uname(&name);
  EXPECT_THAT(name.release, ::testing::MatchesRegex("6\\.1\\.0-[0-9]+-cloud-amd64"));
  EXPECT_EQ(::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION), 2);
}

TEST_F(Production, DoctorFindsEverything) {
  const std::vector<std::string> ask = {"doctor", "--state", state(), "--config",
                                        dir_ / "none.json"};
  EXPECT_THAT(RunCarrel(ask).output, HasSubstr("does not exist"));
  ASSERT_NE(::access(state().c_str(), F_OK), 0) << "asking made it";
  ASSERT_EQ(::mkdir(state().c_str(), 0755), 0);
  const auto doctor = RunCarrel(ask);
  EXPECT_THAT(doctor.output, HasSubstr("v2 cpu io memory pids")) << doctor.errors;
  EXPECT_THAT(doctor.output, HasSubstr("ABI 2"));
  EXPECT_THAT(doctor.output, HasSubstr("the programs load and attach"));
  EXPECT_THAT(doctor.output, HasSubstr("the profile compiles"));
}

TEST_F(Production, PassesExitStatusesOn) {
  EXPECT_EQ(Exec({"/bin/true"}).exit_code, 0);
  EXPECT_EQ(Shell("exit 7").exit_code, 7);
  EXPECT_EQ(Shell("kill -TERM $$").exit_code, 143);
  EXPECT_EQ(Exec({"/bin/none"}).exit_code, 127);
  EXPECT_EQ(Shell("cat").output, "");
}

TEST_F(Production, LimitsAreInForceAndSurviveSystemd) {
  const pid_t pid = StartSleep("limits", {"--memory", "64M", "--pids", "33", "--cpus", "0.5"});
  auto check = [] {
    const std::string cgroup = Cgroup("limits");
    EXPECT_EQ(Text(cgroup + "/memory.max"), "67108864\n");
    EXPECT_EQ(Text(cgroup + "/memory.swap.max"), "0\n");
    EXPECT_EQ(Text(cgroup + "/pids.max"), "33\n");
    EXPECT_EQ(Text(cgroup + "/cpu.max"), "50000 100000\n");
    EXPECT_EQ(Text(cgroup + "/cpu.weight"), "100\n");
    EXPECT_THAT(CommandsIn("limits"), AllOf(HasSubstr("sleep"), HasSubstr("carrel-in")));
  };
  check();
  // systemd writes subtree_control of the root whenever units come and go.
  WriteFile("/run/systemd/system/other.service",
            "[Service]\nType=oneshot\nCPUWeight=50\nMemoryMax=50M\nExecStart=/bin/true\n");
  EXPECT_TRUE(RunChecked({"systemctl", "daemon-reload"}).has_value());
  EXPECT_TRUE(RunChecked({"systemctl", "start", "other.service"}).has_value());
  check();
  EXPECT_EQ(End(pid, SIGTERM), 143);
  EXPECT_FALSE(std::filesystem::exists(Cgroup("limits")));
  EXPECT_EQ(Exec({"/bin/true"}).exit_code, 0);
}

// A launcher that is protected from the out-of-memory killer does not protect the action.
TEST_F(Production, ActionsHaveNoNegativeOomScore) {
  auto score_under = [&](const char* score) {
    WriteFile("/proc/self/oom_score_adj", score);
    EXPECT_EQ(Text("/proc/self/oom_score_adj"), std::string(score) + "\n");
    return Shell("cat /proc/self/oom_score_adj").output;
  };
  EXPECT_EQ(score_under("-500"), "0\n");
  EXPECT_EQ(score_under("300"), "300\n");
  EXPECT_EQ(score_under("0"), "0\n");
}

TEST_F(Production, StartsStraightInItsCgroup) {
  ASSERT_EQ(Exec({"/bin/true"}).exit_code, 0);
  std::vector<std::string> args = ExecArgs({"/bin/true"});
  const std::string trace = dir_ / "trace";
  args.insert(args.begin(), {"strace", "-f", "-o", trace, CARREL_BINARY});
  const auto traced = RunSubprocess(args);
  ASSERT_TRUE(traced.has_value() && traced->exit_code == 0) << traced->errors;
  const std::string calls = Text(trace);
  EXPECT_THAT(calls, HasSubstr("CLONE_INTO_CGROUP"));
  EXPECT_THAT(calls, HasSubstr("CLONE_NEWTIME"));
  EXPECT_THAT(calls, Not(HasSubstr("cgroup.procs")));
  EXPECT_THAT(calls, ::testing::ContainsRegex("landlock_restrict_self\\([0-9]+, 0\\) += 0"));
  EXPECT_THAT(calls, ::testing::ContainsRegex("seccomp\\(SECCOMP_SET_MODE_FILTER[^\n]* = 0"));
}

TEST_F(Production, MemoryLimitIsKnownForCertain) {
  const auto run = Exec({"tail", "/dev/zero"}, {"--memory", "32M", "--id", "oom"});
  EXPECT_EQ(run.exit_code, 137);
  EXPECT_THAT(run.errors, HasSubstr("memory limit of 32 MiB was reached"));
  // A tmpfs counts, too.
  const auto filled = Shell(
      "cat /dev/zero > /tmp/file; cat /dev/zero > /dev/shm/file; "
      "tail /dev/zero",
      {"--memory", "32M"});
  EXPECT_THAT(filled.errors, HasSubstr("memory limit of 32 MiB was reached"));
  EXPECT_EQ(Exec({"/bin/true"}, {"--memory", "32M"}).errors, "");
}

TEST_F(Production, ProcessesAreLimited) {
  const auto run =
      Shell("for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done; echo all", {"--pids", "6"});
  EXPECT_NE(run.exit_code, 0);
  EXPECT_THAT(run.errors, HasSubstr("can't fork"));
  EXPECT_THAT(run.output, Not(HasSubstr("all")));
}

TEST_F(Production, TimeIsLimited) {
  const auto run = Exec({"sleep", "1000"}, {"--time", "1"});
  EXPECT_EQ(run.exit_code, 143);
  EXPECT_THAT(run.errors, HasSubstr("time limit of 1 s"));
}

TEST_F(Production, EveryNamespaceIsItsOwn) {
  const auto run =
      Shell("for n in cgroup ipc mnt net pid time user uts; do readlink /proc/self/ns/$n; done");
  std::istringstream inside(run.output);
  for (const char* name : {"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"}) {
    std::string line;
    ASSERT_TRUE(std::getline(inside, line)) << name;
    EXPECT_NE(line, std::filesystem::read_symlink(std::string("/proc/self/ns/") + name).string());
  }
}

TEST_F(Production, NothingOfTheHostShows) {
  EXPECT_EQ(Shell("cat /proc/self/cgroup").output, "0::/\n");
  EXPECT_NE(Shell("cat /proc/1/status").exit_code, 0);  // hidepid=ptraceable
  EXPECT_THAT(Shell("ls /proc").output, Not(::testing::ContainsRegex("(^|\n)1\n")));
  const std::string mounts = Shell("cat /proc/self/mountinfo").output;
  EXPECT_THAT(mounts, ::testing::ContainsRegex("proc none rw,hidepid=ptraceable"));
  EXPECT_THAT(mounts, HasSubstr("redirect_dir=nofollow"));
  EXPECT_THAT(mounts, Not(HasSubstr(" - cgroup")));
  EXPECT_THAT(mounts, Not(HasSubstr(root())));
  EXPECT_EQ(Shell("cat /proc/kallsyms /proc/modules /proc/cmdline /proc/config.gz").output, "");
}

TEST_F(Production, PrivilegesAreGone) {
  const std::string status = Shell("cat /proc/self/status").output;
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"})
    EXPECT_THAT(status, HasSubstr(std::string(set) + ":\t0000000000000000"));
  EXPECT_THAT(status, HasSubstr("NoNewPrivs:\t1"));
  EXPECT_THAT(status, HasSubstr("Seccomp:\t2"));
  EXPECT_NE(Exec({"unshare", "-U", "true"}).exit_code, 0);
  EXPECT_NE(Exec({"mount", "-t", "tmpfs", "none", "/tmp"}).exit_code, 0);
  EXPECT_NE(Exec({"touch", "/bin/new"}).exit_code, 0);
  EXPECT_EQ(Shell("touch /tmp/new && touch /w/new", {"--writable", "/w"}).exit_code, 0);
}

TEST_F(Production, AuditLogIsWholeAndShows) {
  ASSERT_EQ(
      Shell("cat /bin/busybox > /tmp/copy; mount -t tmpfs none /tmp", {"--id", "log"}).exit_code,
      1);
  const auto verify = Carrel({"audit", "verify", "log"});
  EXPECT_EQ(verify.exit_code, 0) << verify.output << verify.errors;
  const auto show = Carrel({"audit", "show", "log"});
  EXPECT_EQ(show.exit_code, 0) << show.errors;
  const auto query = Carrel({"audit", "query", "log"});
  EXPECT_EQ(query.exit_code, 0) << query.errors;
  EXPECT_THAT(query.output, AllOf(HasSubstr("/bin/busybox"), HasSubstr("/tmp/copy"),
                                  HasSubstr("mount"), HasSubstr("exit_group")));
}

TEST_F(Production, KilledSupervisorTakesTheActionAndIsSweptUp) {
  const pid_t pid = StartSleep("killed");
  EXPECT_EQ(End(pid, SIGKILL), 137);
  EXPECT_TRUE(WaitFor([] { return CommandsIn("killed").empty(); }));
  EXPECT_TRUE(std::filesystem::exists(Cgroup("killed")));
  EXPECT_TRUE(std::filesystem::exists(state() + "/run/killed.lock"));
  EXPECT_EQ(Exec({"/bin/true"}).exit_code, 0);
  EXPECT_FALSE(std::filesystem::exists(Cgroup("killed")));
  EXPECT_FALSE(std::filesystem::exists(state() + "/run/killed.lock"));
}

// A task in the left-over cgroup is killed through cgroup.kill.
TEST_F(Production, SweepKillsWhatIsLeft) {
  ASSERT_EQ(End(StartSleep("left"), SIGKILL), 137);
  const pid_t pid = ::fork();
  if (pid == 0)
    for (;;) ::pause();
  WriteFile(Cgroup("left") + "/cgroup.procs", std::to_string(pid));
  EXPECT_EQ(Exec({"/bin/true"}).exit_code, 0);
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, WNOHANG), pid);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_FALSE(std::filesystem::exists(Cgroup("left")));
}

// "cpu" is not there just because "cpuset" is.
TEST_F(Production, ControllersAreToldApartByTheirWholeName) {
  const pid_t pid = StartSleep("holds-the-parent");
  WriteFile(kCgroups + "/cgroup.subtree_control", "+cpuset");
  const std::string control = kCgroups + "/carrel/cgroup.subtree_control";
  WriteFile(control, "+cpuset -cpu");
  ASSERT_EQ(Text(control), "cpuset io memory pids\n");
  EXPECT_EQ(Exec({"/bin/true"}).exit_code, 0);
  EXPECT_EQ(Text(control), "cpuset cpu io memory pids\n");
  EXPECT_EQ(End(pid, SIGTERM), 143);
}

}  // namespace
}  // namespace carrel::testing_support
