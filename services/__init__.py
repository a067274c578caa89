"""The programs; they never import each other, and share only libs."""
