// Several carrel programs at one store: imports at once, imports against removals, and kill -9 in
// the middle.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <random>

#include "support/carrel.h"

namespace carrel::testing_support {
namespace {

class ImageConcurrency : public testing::Test {
 protected:
  // A layout with `files` files of its own, and a hundred that all images share.
  std::string MakeImage(const std::string& name, int files) {
    const std::string dir = dir_ / name, image = dir + ":v1";
    auto run = [](const std::vector<std::string>& argv) {
      auto output = RunChecked(argv);
      EXPECT_TRUE(output.has_value()) << output.error().ToString();
    };
    run({"umoci", "init", "--layout", dir});
    run({"umoci", "new", "--image", image});
    run({"umoci", "unpack", "--image", image, dir + "-bundle"});
    run({"sh", "-ec",
         "cd " + dir +
             "-bundle/rootfs; for i in $(seq 100); do echo shared $i > s$i; done;"
             "for i in $(seq " +
             std::to_string(files) + "); do echo " + name +
             " $i > f$i; done;"
             "touch -d 2001-02-03T04:05:06Z *"});
    run({"umoci", "repack", "--image", image, dir + "-bundle"});
    return dir;
  }

  pid_t Spawn(std::vector<std::string> args) {
    args.insert(args.begin(), {CARREL_BINARY, "image"});
    args.insert(args.end(), {"--state", dir_ / "state"});
    std::vector<char*> argv;
    for (std::string& arg : args) argv.push_back(arg.data());
    argv.push_back(nullptr);
    const pid_t pid = ::fork();
    if (pid == 0) {
      const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
      ::dup2(null, 1);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    return pid;
  }

  static int Wait(pid_t pid) {
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  SubprocessResult Image(std::vector<std::string> args) {
    args.insert(args.begin(), "image");
    args.insert(args.end(), {"--state", dir_ / "state"});
    return RunCarrel(args);
  }

  static ptrdiff_t Lines(const std::vector<std::string>& argv) {
    auto text = RunChecked(argv);
    EXPECT_TRUE(text.has_value()) << text.error().ToString();
    return text ? std::count(text->begin(), text->end(), '\n') : -1;
  }
  ptrdiff_t Count(const std::string& below) {
    return Lines({"find", dir_ / ("state/images/" + below), "-mindepth", "1"});
  }
  ptrdiff_t CountUnused() {
    return Lines({"find", dir_ / "state/images/objects", "-type", "f", "-links", "1"});
  }

  TempDir dir_;
};

TEST_F(ImageConcurrency, EightImportsOfTheSameImage) {
  const std::string path = MakeImage("same", 200);
  std::vector<pid_t> pids;
  for (int i = 0; i < 8; ++i)
    pids.push_back(Spawn({"import", path, "--name", "same:v" + std::to_string(i)}));
  for (pid_t pid : pids) EXPECT_EQ(Wait(pid), 0);
  const auto list = *ParseJson(Image({"list", "--json"}).output, "list");
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0]["names"].size(), 8u);
  EXPECT_EQ(Image({"verify", "--all"}).exit_code, 0);
  EXPECT_EQ(Count("tmp"), 0);
  EXPECT_EQ(CountUnused(), 0);
}

TEST_F(ImageConcurrency, EightImportsOfDifferentImages) {
  std::vector<std::string> paths;
  for (int i = 0; i < 8; ++i) paths.push_back(MakeImage(std::string("i") + char('0' + i), 20));
  std::vector<pid_t> pids;
  for (int i = 0; i < 8; ++i)
    pids.push_back(Spawn({"import", paths[i], "--name", "many:v" + std::to_string(i)}));
  for (pid_t pid : pids) EXPECT_EQ(Wait(pid), 0);
  EXPECT_EQ(ParseJson(Image({"list", "--json"}).output, "list")->size(), 8u);
  EXPECT_EQ(Image({"verify", "--all"}).exit_code, 0);
  EXPECT_EQ(Count("tmp"), 0);
}

TEST_F(ImageConcurrency, ImportsAgainstRemovals) {
  const std::string one = MakeImage("one", 50), two = MakeImage("two", 50);
  ASSERT_EQ(Image({"import", one, "--name", "keep:v1"}).exit_code, 0);
  for (int round = 0; round < 10; ++round) {
    ASSERT_EQ(Image({"import", two, "--name", "two:v1"}).exit_code, 0);
    const pid_t remove = Spawn({"remove", "two:v1"});
    const pid_t import = Spawn({"import", two, "--name", "again:v1"});
    EXPECT_EQ(Wait(remove), 0);
    EXPECT_EQ(Wait(import), 0);
    const auto verify = Image({"verify", "--all"});
    EXPECT_EQ(verify.exit_code, 0) << verify.output;
    EXPECT_EQ(Image({"inspect", "again:v1"}).exit_code, 0);
    ASSERT_EQ(Image({"remove", "again:v1"}).exit_code, 0);
  }
  EXPECT_EQ(Image({"verify", "keep:v1"}).exit_code, 0);
  EXPECT_EQ(CountUnused(), 0);
}

TEST_F(ImageConcurrency, KilledImportsLeaveNothing) {
  const std::string path = MakeImage("killed", 2000);
  std::mt19937 random(20);  // the same moments each time, as far as the machine allows
  size_t interrupted = 0;
  for (int round = 0; round < 20; ++round) {
    const pid_t pid = Spawn({"import", path, "--name", "killed:v1"});
    ::usleep(random() % 60'000);
    ::kill(pid, SIGKILL);
    if (Wait(pid) != 0) ++interrupted;
    if (!std::filesystem::exists(dir_ / "state/images")) continue;  // killed before it had begun
    // Any command opens the store, and an image is there whole or not at all.
    const auto list = *ParseJson(Image({"list", "--json"}).output, "list");
    EXPECT_EQ(Count("tmp"), 0);
    EXPECT_EQ(CountUnused(), 0);
    if (list.empty()) {
      for (const char* name : {"rootfs", "trees", "manifests", "names", "configs", "blobs/sha256"})
        EXPECT_EQ(Count(name), 0) << name;
    } else {
      EXPECT_EQ(Image({"verify", "--all"}).exit_code, 0);
      EXPECT_EQ(Image({"remove", list[0]["digest"]}).exit_code, 0);
    }
  }
  EXPECT_GT(interrupted, 5u);
  ASSERT_EQ(Image({"import", path, "--name", "killed:v1"}).exit_code, 0);
  EXPECT_EQ(Image({"verify", "killed:v1"}).exit_code, 0);
}

}  // namespace
}  // namespace carrel::testing_support
