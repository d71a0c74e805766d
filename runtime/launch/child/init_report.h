/* What the init writes on its report socket; read by launch/supervisor. */
#ifndef CARREL_INIT_REPORT_H_
#define CARREL_INIT_REPORT_H_

#include <stdint.h>

#define CARREL_REPORT_FD 3
#define CARREL_REPORT_EXEC_FAILED 1 /* value: errno of execve */
#define CARREL_REPORT_FORK_FAILED 2 /* value: errno of clone */
#define CARREL_REPORT_EXITED 3      /* value: wait status of the action */

struct carrel_init_report {
  uint32_t kind;
  int32_t value;
};

#endif
