// Work done on several threads whose results are taken in the order in which it was given out.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/result.h"

namespace carrel {

class OrderedWork {
 public:
  using Step = std::function<Result<void>()>;

  /// `threads` of 0: as many as there are processors, at most eight.
  explicit OrderedWork(unsigned threads = 0);
  /// Work that was not taken is given up.
  ~OrderedWork();
  OrderedWork(const OrderedWork&) = delete;
  OrderedWork& operator=(const OrderedWork&) = delete;

  /// Has `work` done on some thread, and then `finish` on the caller's, in a later Push or Drain.
  /// Waits while much is under way. Returns the first error of either; then stop pushing.
  Result<void> Push(Step work, Step finish);
  /// Waits for all that is left.
  Result<void> Drain();

 private:
  struct Item {
    Step work, finish;
    Result<void> outcome;
    bool done = false;
  };
  void Run();
  Result<void> TakeOldest();

  std::mutex mutex_;
  std::condition_variable work_there_, work_done_;
  std::deque<std::shared_ptr<Item>> waiting_;  ///< for a thread
  std::deque<std::shared_ptr<Item>> ordered_;  ///< for the caller; only the caller looks at it
  bool stopped_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace carrel
