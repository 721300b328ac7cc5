// One line per check, and the sum at the end.

export class Report {
  #passed = 0;
  #failed = 0;

  /** Runs a check; what it returns is printed behind its name. A failure is counted and does not end the run. */
  async check(name, ms, act) {
    const startedAt = performance.now();
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done within ${ms / 1000} s`)), ms);
    });
    try {
      const note = await Promise.race([act(), late]);
      this.#passed += 1;
      this.#line("ok", name, note, startedAt);
      return true;
    } catch (error) {
      this.#failed += 1;
      this.#line("FAILED", name, String(error?.message ?? error).split("\n").slice(0, 12).join("\n    "), startedAt);
      return false;
    } finally {
      clearTimeout(timer);
    }
  }

  #line(verdict, name, note, startedAt) {
    const tookS = ((performance.now() - startedAt) / 1000).toFixed(1);
    console.log(`${verdict}  ${name}${note ? `: ${note}` : ""} (${tookS} s)`);
  }

  /** Prints the closing line; true if all passed. */
  close() {
    console.log(`${this.#passed} passed, ${this.#failed} failed`);
    return this.#failed === 0 && this.#passed > 0;
  }
}
