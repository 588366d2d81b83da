"""``python -m synthbook.press``: what ``make`` calls."""

from synthbook.press.book import main

if __name__ == "__main__":
    main()
