"""A progress bar on the terminal, if tqdm is installed, and silence otherwise."""


def bar(show=True, **options):
    """A context with ``update`` and ``set_postfix``: tqdm with these options, or one that shows nothing."""
    if show:
        try:
            from tqdm import tqdm
        except ImportError:
            return _Silent()
        return tqdm(leave=False, **options)
    return _Silent()


class _Silent:
    """A progress bar that shows nothing."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self, _=1):
        pass

    def set_postfix(self, _):
        pass
