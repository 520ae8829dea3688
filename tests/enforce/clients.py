"""Clients as they show themselves: the four fields of a browser, by a short name."""

from gateway.enforce.signs import Browser


def chromium(agent: str, brands: str, platform: str, *, mobile: bool = False) -> Browser:
    """A Chromium browser: it sends client hints, and a User-Agent with reduced versions."""
    return agent.encode(), brands.encode(), b"?1" if mobile else b"?0", f'"{platform}"'.encode()


def plain(agent: str) -> Browser:
    """A client without client hints."""
    return agent.encode(), None, None, None


_ENGINE = "AppleWebKit/537.36 (KHTML, like Gecko)"
_CHROME_BRANDS = '"Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"'
_SAFARI = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6"

CHROME_WINDOWS = chromium(
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_ENGINE} Chrome/130.0.0.0 Safari/537.36", _CHROME_BRANDS, "Windows"
)
CHROME_WINDOWS_UPDATED = chromium(
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_ENGINE} Chrome/142.0.0.0 Safari/537.36",
    '"Google Chrome";v="142", "Not_A Brand";v="8", "Chromium";v="142"',
    "Windows",
)
CHROME_MAC = chromium(
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_ENGINE} Chrome/130.0.0.0 Safari/537.36", _CHROME_BRANDS, "macOS"
)
CHROME_LINUX = chromium(f"Mozilla/5.0 (X11; Linux x86_64) {_ENGINE} Chrome/130.0.0.0 Safari/537.36", _CHROME_BRANDS, "Linux")
CHROME_ANDROID = chromium(
    f"Mozilla/5.0 (Linux; Android 10; K) {_ENGINE} Chrome/130.0.0.0 Mobile Safari/537.36", _CHROME_BRANDS, "Android", mobile=True
)
CHROME_ANDROID_TABLET = chromium(
    f"Mozilla/5.0 (Linux; Android 10; K) {_ENGINE} Chrome/130.0.0.0 Safari/537.36", _CHROME_BRANDS, "Android"
)
EDGE_WINDOWS = chromium(
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_ENGINE} Chrome/130.0.0.0 Safari/537.36 Edg/130.0.0.0",
    '"Chromium";v="130", "Microsoft Edge";v="130", "Not?A_Brand";v="99"',
    "Windows",
)
BRAVE_LINUX = chromium(
    f"Mozilla/5.0 (X11; Linux x86_64) {_ENGINE} Chrome/130.0.0.0 Safari/537.36",
    '"Chromium";v="130", "Brave";v="130", "Not?A_Brand";v="99"',
    "Linux",
)
SAMSUNG_ANDROID = chromium(
    f"Mozilla/5.0 (Linux; Android 10; K) {_ENGINE} SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36",
    '"Samsung Internet";v="27.0", "Chromium";v="125", "Not.A/Brand";v="24"',
    "Android",
    mobile=True,
)
SAMSUNG_DESKTOP_SITE = chromium(
    f"Mozilla/5.0 (X11; Linux x86_64) {_ENGINE} SamsungBrowser/27.0 Chrome/125.0.0.0 Safari/537.36",
    '"Samsung Internet";v="27.0", "Chromium";v="125", "Not.A/Brand";v="24"',
    "Linux",
)
FIREFOX_LINUX = plain("Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0")
FIREFOX_LINUX_UPDATED = plain("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0")
FIREFOX_WINDOWS = plain("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0")
FIREFOX_ANDROID = plain("Mozilla/5.0 (Android 14; Mobile; rv:132.0) Gecko/132.0 Firefox/132.0")
SAFARI_MAC = plain(f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_SAFARI} Safari/605.1.15")
SAFARI_IPHONE = plain(f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_6_1 like Mac OS X) {_SAFARI} Mobile/15E148 Safari/604.1")
SAFARI_IPHONE_UPDATED = plain(
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/26.0 Mobile/15E148 Safari/604.1"
)
SAFARI_IPAD = plain(f"Mozilla/5.0 (iPad; CPU OS 17_6_1 like Mac OS X) {_SAFARI} Mobile/15E148 Safari/604.1")
INSTAGRAM_IPHONE = plain(
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/21G93 "
    "Instagram 352.1.0.25.100 (iPhone15,2; iOS 17_6_1; en_US; en; scale=3.00; 1179x2556; 651111111)"
)
WEBVIEW_ANDROID = plain(
    f"Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/UP1A.231005.007; wv) {_ENGINE} Version/4.0 Chrome/130.0.6723.58 "
    "Mobile Safari/537.36"
)
VIDEO_IPHONE = plain("AppleCoreMedia/1.0.0.21G93 (iPhone; U; CPU OS 17_6_1 like Mac OS X; en_us)")
VIDEO_IPAD = plain("AppleCoreMedia/1.0.0.21G93 (iPad; U; CPU OS 17_6_1 like Mac OS X; en_us)")
DOWNLOAD_ANDROID = plain("AndroidDownloadManager/14 (Linux; U; Android 14; Pixel 8 Build/UQ1A.231205.015)")
CURL = plain("curl/8.5.0")
REQUESTS = plain("python-requests/2.32.3")
GOOGLEBOT = plain("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)")
SILENT: Browser = (None, None, None, None)
