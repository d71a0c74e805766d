// Ends at once: what a start costs without an action.
int main(void) { return 0; }
